"""Rendering: slots, logos, intro, poster. The processor's effects Prepare, Render and MakePoster."""

from pathlib import Path

from edge_agent.core.effects import FilmFile, MakePoster, Prepare, Prepared, Render, Rendered
from edge_agent.drivers.render.prepare import make_poster, prepare
from edge_agent.drivers.render.slots import DEADLINE_S, render_slot

__all__ = ["Renderer", "make_poster", "prepare", "render_slot"]


class Renderer:
    """The three effects over one ``storage.root``. Every call blocks, and may be repeated without harm."""

    def __init__(self, root: Path, deadline_s: float = DEADLINE_S) -> None:
        """``deadline_s`` is for one ffmpeg run of a slot."""
        self._root = root
        self._deadline_s = deadline_s

    def prepare(self, effect: Prepare) -> Prepared:
        """See `prepare`."""
        return prepare(self._root, effect)

    def render(self, effect: Render) -> Rendered:
        """See `render_slot`."""
        return render_slot(self._root, effect, self._deadline_s)

    def make_poster(self, effect: MakePoster) -> FilmFile:
        """See `make_poster`."""
        return make_poster(self._root, effect)
