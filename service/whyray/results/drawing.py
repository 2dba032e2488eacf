"""Which pages an answer has: of each map, segment and explanation that may be shown, and notices of what may not."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from whyray.base.made_ahead import MadeAhead
from whyray.base.stages import each_in_stage, stage
from whyray.config import Audience
from whyray.explain import method_title
from whyray.quality import Grade, worst_of
from whyray.results.answer import (
    Answer,
    Finding,
    GradedExplanation,
    MapInSource,
    PageKind,
    by_probability,
    is_for,
    shown_maps,
    shown_typed,
)
from whyray.results.outlines import largest_outline
from whyray.results.page import (
    Page,
    cine_pages,
    comparisons,
    map_details,
    map_pages,
    mask_pages,
    notice_page,
    summary_page,
    typed_details,
    typed_pages,
)
from whyray.results.portray import Look, Portrayal, portray
from whyray.results.series import SEPARATOR
from whyray.results.template_layout import Layout
from whyray.results.templates import Templates
from whyray.results.uids import map_key, map_keys, typed_key
from whyray.results.wording import Wording

_KINDS_OF_PAGES = {
    "map": "AI Overlay",
    "segment": "AI Segment",
    "notice": "AI Notice",
    "typed": "AI Explanation",
    "compared": "AI Comparison",
    "cine": "AI Steps",
    "details": "AI Details",
}


@dataclass(frozen=True)
class Drawn:
    """Pages about one thing; `key` tells it apart from others of the same finding."""

    about: PageKind
    finding: Finding
    method: str | None
    key: str
    description: str
    pages: list[Page]
    grade: Grade | None = None
    """Of the explanation that is shown; the worst of those that are compared."""

    @property
    def title(self) -> str:
        """The description with the kind of page before it, as the object itself says it."""
        return f"{_KINDS_OF_PAGES.get(self.about, 'AI Page')} {SEPARATOR} {self.description}"


class Drawing:
    """Draws the pages of one answer, and portrays what is not a heatmap, for pages and report alike."""

    def __init__(
        self, answer: Answer, templates: Templates, page_wording: Wording, audience: Audience = "radiologist"
    ) -> None:
        self.answer = answer
        self.audience = audience
        self.page_wording = page_wording
        self._templates = templates
        self._maps = shown_maps(answer)
        self._typed = shown_typed(answer)
        self._portrayed: dict[tuple[int, str, int], tuple[Layout, Portrayal]] = {}
        self._ahead: MadeAhead[list[Page]] = MadeAhead({})

    @contextmanager
    def ahead(self, layout: Layout, *, outlined: bool) -> Iterator[None]:
        """Inside, pages of maps of a planar image are drawn in a thread beside what else is made, before `drawn` asks
        for them; with `outlined` the outlines that a report shows are found there, too."""
        is_planar = self.answer.image.kind == "planar" and self.audience != "administrator"
        makers: dict[Hashable, Callable[[], list[Page]]] = {}
        outlines: list[Callable[[], object]] = []
        for finding in by_probability(self.answer.findings):
            for heatmap in self._maps_drawn(finding) if is_planar else ():
                makers[_page_key(heatmap, layout)] = partial(self._map_pages, finding, heatmap, layout)
                if outlined and heatmap.region.any():
                    outlines.append(partial(largest_outline, heatmap.region, 0))
        with MadeAhead(makers, outlines) as self._ahead:
            yield

    def portrayal(self, finding: Finding, graded: GradedExplanation, wording: Wording, layout: Layout) -> Portrayal:
        """What results say of such an explanation in these words; drawn once, since charts and cines take long."""
        place = (id(graded), wording.language.value, id(layout))
        if place not in self._portrayed:
            made = portray(graded, Look(self.answer, finding, self._templates, layout, wording))
            self._portrayed[place] = (layout, made)  # the layout is kept: another must not get its id
        return self._portrayed[place][1]

    @stage("drawing")
    def summary(self, layout: Layout) -> Page:
        """The first page: what was found; of an image that nothing is said of, that and why."""
        return summary_page(self.answer, layout, self.page_wording)

    def drawn(self, layout: Layout) -> Iterator[Drawn]:
        """Pages of findings, those that were found first, by probability: of maps, segments and other explanations, and
        notices of what is not shown; then comparisons, then details.

        Which of them depends on who reads. None of an image that nothing is said of: see `summary`.
        """
        return each_in_stage("drawing", self._drawn(layout))

    def _drawn(self, layout: Layout) -> Iterator[Drawn]:
        self._said: set[str] = set()
        if self.audience != "administrator":
            for finding in by_probability(self.answer.findings):
                yield from self._of_finding(finding, layout)
            yield from self._side_by_side(layout)
        if layout.details == "always" or (layout.details == "by_audience" and self.audience == "scientist"):
            for finding in by_probability(self.answer.findings):
                yield from self._details(finding, layout)

    def cines(self, layout: Layout) -> Iterator[Drawn]:
        """The steps of each explanation that has some: frames of one thing, whatever the layout says of volumes."""
        return each_in_stage("drawing", self._cines(layout))

    def _cines(self, layout: Layout) -> Iterator[Drawn]:
        for finding, graded in self._typed:
            portrayal = self.portrayal(finding, graded, self.page_wording, layout)
            plain = portrayal.plain
            if (plain is None or plain.shown or self.audience == "scientist") and portrayal.cine:
                frames = cine_pages(self.answer, finding, graded, portrayal, layout, self.page_wording)
                words = f"{finding.name}: {method_title(graded.method)}, frames"
                yield Drawn("cine", finding, graded.method, typed_key(graded), words, frames, graded.card.grade)

    def _of_finding(self, finding: Finding, layout: Layout) -> Iterator[Drawn]:
        wording, answer, name = self.page_wording, self.answer, finding.name
        shown = [heatmap for one, heatmap in self._maps if one is finding]
        if finding.mask is not None and (finding.present or self.audience == "scientist"):
            pages = mask_pages(answer, finding, finding.mask, layout, wording)
            yield Drawn("segment", finding, None, "mask", f"{name}, segment", pages)
        for heatmap in self._maps_drawn(finding):
            pages = self._ahead.take(_page_key(heatmap, layout), partial(self._map_pages, finding, heatmap, layout))
            about = f"{name} by {heatmap.title}"
            yield Drawn("map", finding, heatmap.method, map_key(heatmap), about, pages, heatmap.card.grade)
        drawn = [page for of, one in self._typed if of is finding for page in self._of_typed(finding, one, layout)]
        yield from drawn
        explained: tuple[MapInSource | GradedExplanation, ...] = (*finding.typed, *finding.heatmaps)
        if finding.mask is not None and self.audience != "scientist":
            explained = finding.typed  # of a segment's maps its own page says why they are not shown
        withheld = [graded for graded in explained if graded.card.withheld]
        silent = finding.is_sought and finding.mask is None and not shown and not drawn
        if withheld or (finding.refused and silent):
            page = notice_page(answer, finding, withheld, layout, wording)
            yield Drawn("notice", finding, None, "notice", f"{name}: explanation not shown", [page])

    def _maps_drawn(self, finding: Finding) -> list[MapInSource]:
        """Those that have pages of their own, and not only a part in an explanation's."""
        return [heatmap for one, heatmap in self._maps if one is finding and is_for(heatmap, self.audience)]

    def _map_pages(self, finding: Finding, heatmap: MapInSource, layout: Layout) -> list[Page]:
        return map_pages(self.answer, finding, heatmap, layout, self.page_wording)

    def _details(self, finding: Finding, layout: Layout) -> Iterator[Drawn]:
        wording, answer, name = self.page_wording, self.answer, finding.name
        for heatmap in (heatmap for one, heatmap in self._maps if one is finding):
            page = map_details(answer, finding, heatmap, layout, wording)
            about, key = f"{name} by {heatmap.title}, details", f"details {map_key(heatmap)}"
            yield Drawn("details", finding, heatmap.method, key, about, [page], heatmap.card.grade)
        for graded in (graded for of, graded in self._typed if of is finding):
            portrayal = self.portrayal(finding, graded, wording, layout)
            page = typed_details(answer, finding, graded, portrayal, layout, wording)
            about, key = f"{name}: {method_title(graded.method)}, details", f"details {typed_key(graded)}"
            yield Drawn("details", finding, graded.method, key, about, [page], graded.card.grade)

    def _side_by_side(self, layout: Layout) -> Iterator[Drawn]:
        for comparison in comparisons(self.answer, self._maps, layout, self.page_wording):
            key = f"{comparison.kind} {map_keys(comparison.maps)}"
            about = comparison.finding.name if comparison.kind == "methods" else method_title(str(comparison.method))
            description = f"{about}: {comparison.kind} side by side"
            grade = worst_of(one.card.grade for one in comparison.maps)
            yield Drawn("compared", comparison.finding, comparison.method, key, description, [comparison.page], grade)

    def _of_typed(self, finding: Finding, graded: GradedExplanation, layout: Layout) -> Iterator[Drawn]:
        portrayal = self.portrayal(finding, graded, self.page_wording, layout)
        words = f"{finding.name}: {method_title(graded.method)}"
        about_image = "" if portrayal.plain is None else portrayal.plain.about_image
        if about_image in self._said:
            return  # the image is what it is, whatever the finding
        self._said |= {about_image} if about_image else set()
        pages = typed_pages(self.answer, finding, graded, portrayal, layout, self.page_wording)
        if pages:
            yield Drawn("typed", finding, graded.method, typed_key(graded), words, pages, graded.card.grade)


def _page_key(heatmap: MapInSource, layout: Layout) -> Hashable:
    return id(heatmap), id(layout)
