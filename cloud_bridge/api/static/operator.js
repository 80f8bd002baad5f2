// Shows what changes as it changes: an event makes the page fetch itself anew, and what is marked `data-live` is
// replaced where it is another. Nothing is replaced that somebody is in. Without this script a reload does the same.
(() => {
  "use strict";
  const SOON_MS = 300;
  const LEAST_MS = 3000;
  const EVERY_MS = 60000;
  const parts = () => document.querySelectorAll("[data-live]");
  if (!parts().length || !window.EventSource) return;
  // What a form was answered is at an address that cannot be fetched again.
  if (document.getElementById("link") || document.getElementById("code")) return;
  let last = 0;
  let timer = 0;
  let running = false;

  const busy = (part) => part.contains(document.activeElement) || part.querySelector("details[open]") !== null;

  const refresh = async () => {
    timer = 0;
    if (running || document.hidden) return;
    running = true;
    last = Date.now();
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.redirected) { location.reload(); return; }
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of parts()) {
        const now = fresh.getElementById(part.id);
        if (now !== null && !busy(part) && now.innerHTML !== part.innerHTML) part.replaceChildren(...now.childNodes);
      }
    } catch {
      // The line is away: the next event or minute tries again.
    } finally {
      running = false;
    }
  };

  const soon = () => {
    if (!timer) timer = setTimeout(refresh, Math.max(SOON_MS, last + LEAST_MS - Date.now()));
  };

  const events = new EventSource("/api/v1/events");
  for (const kind of ["ready", "booking", "recording", "camera", "alarm", "device", "resync"]) events.addEventListener(kind, soon);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) soon(); });
  setInterval(soon, EVERY_MS);
})();
