// The film's address holds for 15 minutes. It is fetched anew when it is old before a seek, before playing on after a
// pause, and when the film stands still; and after an error. The film goes on where it was. `again` keeps the counter of views from counting that.
(() => {
  "use strict";
  const film = document.getElementById("film");
  const trouble = document.getElementById("trouble");
  const OLD_MS = 13 * 60 * 1000;
  let fetched = Date.now();
  let errors = 0;
  const STILL_MS = 8000;
  let wanted = 0;
  let still = 0;

  const renew = () => {
    const playing = !film.paused;
    wanted = film.currentTime || wanted;
    fetched = Date.now();
    film.src = `${film.src.split("?")[0]}?again=${fetched}`;
    film.addEventListener("loadedmetadata", () => {
      film.currentTime = wanted;
      if (playing) film.play().catch(() => {});
    }, { once: true });
    film.load();
  };

  const renewOld = () => {
    if (Date.now() - fetched > OLD_MS) renew();
  };

  film.addEventListener("seeking", renewOld);
  film.addEventListener("play", renewOld);
  film.addEventListener("waiting", () => {
    clearTimeout(still);
    still = setTimeout(renewOld, STILL_MS);
  });
  film.addEventListener("error", () => {
    errors += 1;
    if (errors <= 3) setTimeout(renew, errors * 1000);
    else trouble.hidden = false;
  });
  film.addEventListener("playing", () => {
    clearTimeout(still);
    errors = 0;
    trouble.hidden = true;
  });
})();
