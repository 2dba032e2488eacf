"""Pages about frames of one instance, stacked by what they show: a page a frame, in the frames' order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from whyray.quality import Grade
from whyray.results.answer import Answer, Finding, PageKind, by_probability
from whyray.results.drawing import Drawing, Drawn
from whyray.results.frame_stack import SEVERITY, Name, clearness, named_maps, named_typed
from whyray.results.page import Page
from whyray.results.template_layout import Layout
from whyray.results.uids import map_key, typed_key

_LAST = {"compared": 1, "details": 2}
"""Pages that stand behind those of findings."""


@dataclass(frozen=True, eq=False)
class _FramePage:
    place: int
    drawn: Drawn
    page: Page
    grade: Grade | None = None

    @property
    def is_notice(self) -> bool:
        return self.drawn.about == "notice"


@dataclass(frozen=True, eq=False)
class FrameCine:
    """The cine of one explanation of the frame at `place`, and that explanation's name and grade."""

    place: int
    name: Name
    drawn: Drawn
    grade: Grade | None


@dataclass(frozen=True)
class PageStack:
    """Pages about one map, segment or other explanation; where a frame's may not be shown, the notice that says so.

    `about` and `name` tell it from others; `places` are indices into the drawings, ascending, one a page.
    """

    about: str
    name: Name
    pages: tuple[_FramePage, ...]

    @property
    def places(self) -> tuple[int, ...]:
        """Which frame each page is about."""
        return tuple(page.place for page in self.pages)

    @property
    def keys(self) -> list[str]:
        """What makes these pages differ from others of the same name: the parameters of what they show."""
        return sorted({page.drawn.key for page in self.pages})

    @property
    def notices(self) -> Mapping[int, str]:
        """{place: target} of the pages that say why nothing is shown."""
        return {page.place: page.drawn.finding.target.name for page in self.pages if page.is_notice}

    @property
    def finding(self) -> Finding:
        """Of the clearest page."""
        return self._clearest.drawn.finding

    @property
    def grade(self) -> Grade | None:
        """The worst of the explanations that are shown."""
        shown = [page.grade for page in self.pages if page.grade is not None]
        return max(shown, key=lambda grade: SEVERITY.index(grade.value), default=None)

    @property
    def clearest(self) -> int:
        """Index of the page that stands for all: of the frame with the clearest answer that shows something."""
        return self.pages.index(self._clearest)

    @property
    def kind(self) -> PageKind:
        """What the clearest page shows."""
        return self._clearest.drawn.about

    @property
    def method(self) -> str | None:
        """What explained it."""
        return self._clearest.drawn.method

    @property
    def description(self) -> str:
        """In words, as on a single image."""
        return self._clearest.drawn.description

    @property
    def title(self) -> str:
        """The description with the kind of page before it."""
        return self._clearest.drawn.title

    @property
    def _clearest(self) -> _FramePage:
        return max(self.pages, key=lambda page: (not page.is_notice, *clearness(page.drawn.finding)))

    def pages_of_one_size(self, layout: Layout) -> list[Page]:
        """The pages as frames of one object: on canvases of one size, each panel naming its frame in the stack."""
        height = max(page.page.picture.shape[0] for page in self.pages)
        width = max(page.page.picture.shape[1] for page in self.pages)
        made = []
        for index, page in enumerate(self.pages):
            canvas = np.full((height, width, 3), layout.colours.background, np.uint8)
            picture = page.page.picture
            canvas[: picture.shape[0], : picture.shape[1]] = picture
            panels = (replace(panel, frame=None if panel.frame is None else index) for panel in page.page.panels)
            made.append(Page(canvas, tuple(panels)))
        return made


def frame_cines(drawings: Sequence[Drawing], layout: Layout) -> list[FrameCine]:
    """The cines of all frames, each by itself."""
    made = []
    for place, drawing in enumerate(drawings):
        names, grades = _names(drawing.answer), _grades(drawing.answer)
        for drawn in drawing.cines(layout):
            name = names["typed", drawn.finding.target.name, drawn.key]
            made.append(FrameCine(place, name, drawn, grades["typed", name]))
    return made


def page_stacks(drawings: Sequence[Drawing], layout: Layout) -> list[PageStack]:
    """All pages of the frames in stacks, the most probable finding first.

    A notice about a withheld explanation stands in the stack of that explanation, at its frame, where other frames show
    it; else all notices about a target make a stack.
    """
    stacks: dict[tuple[str, Name], list[_FramePage]] = {}
    notices: list[tuple[_FramePage, list[tuple[str, Name]]]] = []
    for place, drawing in enumerate(drawings):
        names, grades = _names(drawing.answer), _grades(drawing.answer)
        for drawn in drawing.drawn(layout):
            target = drawn.finding.target.name
            if drawn.about == "notice":
                notices.append((_FramePage(place, drawn, drawn.pages[0]), _withheld(drawing.answer, target)))
            elif drawn.about == "details":
                of = drawn.key.removeprefix("details ")
                name = names.get(("map", target, of)) or names["typed", target, of]
                page = _FramePage(place, drawn, drawn.pages[0], drawn.grade)
                stacks.setdefault(("details", name), []).append(page)
            else:
                name = names.get((drawn.about, target, drawn.key)) or _other_name(drawn)
                page = _FramePage(place, drawn, drawn.pages[0], grades.get((drawn.about, name)))
                stacks.setdefault((drawn.about, name), []).append(page)
    for page, withheld in notices:
        own = ("notice", (page.drawn.finding.target.name,))
        for key in [key for key in withheld if key in stacks] or [own]:
            stacks.setdefault(key, []).append(page)
    made = [
        PageStack(about, name, tuple(sorted(pages, key=lambda page: page.place)))
        for (about, name), pages in stacks.items()
    ]
    clearest: dict[str, Finding] = {}
    for finding in by_probability(stack.finding for stack in made):
        clearest.setdefault(finding.target.name, finding)
    order = list(clearest)
    made.sort(key=lambda stack: (_LAST.get(stack.about, 0), order.index(stack.finding.target.name)))
    return made


def _names(answer: Answer) -> dict[tuple[str, str, str], Name]:
    """What a drawing's pages are called by, {(about, target, key): name}."""
    names = {("map", finding.target.name, map_key(heatmap)): name for name, finding, heatmap in named_maps(answer)}
    typed = {("typed", finding.target.name, typed_key(one)): name for name, finding, one in named_typed(answer)}
    return names | typed


def _grades(answer: Answer) -> dict[tuple[str, Name], Grade]:
    maps = {("map", name): heatmap.card.grade for name, _, heatmap in named_maps(answer)}
    return maps | {("typed", name): graded.card.grade for name, _, graded in named_typed(answer)}


def _other_name(drawn: Drawn) -> Name:
    """Of a segment, or of a comparison: its kind is the first word of the key, the maps compared are what follows."""
    target = drawn.finding.target.name
    if drawn.about == "compared":
        kind = drawn.key.split(" ", 1)[0]
        return (kind, target) if kind == "methods" else (kind, drawn.method or "")
    return target, drawn.key


def _withheld(answer: Answer, target: str) -> list[tuple[str, Name]]:
    keys = [
        ("map", name)
        for name, finding, heatmap in named_maps(answer)
        if finding.target.name == target and heatmap.card.withheld and heatmap.part is None
    ]
    keys += [
        ("typed", name)
        for name, finding, graded in named_typed(answer)
        if finding.target.name == target and graded.card.withheld
    ]
    return keys
