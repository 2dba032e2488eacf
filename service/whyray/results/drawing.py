"""Which pages an answer has: of each map, segment and explanation that may be shown, and notices of what may not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from whyray.quality import Grade, worst_of
from whyray.results.answer import (
    Answer,
    Finding,
    GradedExplanation,
    MapInSource,
    by_probability,
    no_statement,
    shown_maps,
    shown_told,
)
from whyray.results.page import (
    Page,
    cine_pages,
    comparisons,
    map_pages,
    mask_pages,
    no_statement_page,
    notice_page,
    told_pages,
)
from whyray.results.portray import Look, Portrayal, portray
from whyray.results.series import SEPARATOR
from whyray.results.template_layout import Layout
from whyray.results.templates import Templates
from whyray.results.uids import map_key, map_keys, told_key
from whyray.results.wording import Wording

_KINDS_OF_PAGES = {
    "map": "AI Overlay",
    "segment": "AI Segment",
    "notice": "AI Notice",
    "told": "AI Explanation",
    "compared": "AI Comparison",
    "cine": "AI Steps",
}


@dataclass(frozen=True)
class Drawn:
    """Pages about one thing; `key` tells it apart from others of the same finding."""

    about: Literal["map", "segment", "notice", "told", "compared", "cine"]
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


def in_reading_order(drawn: Iterable[Drawn]) -> list[Drawn]:
    """The most probable finding first; comparisons, which are about several, last."""
    listed = list(drawn)
    ranked = by_probability({one.finding.target.name: one.finding for one in listed}.values())
    names = [finding.target.name for finding in ranked]
    return sorted(listed, key=lambda one: (one.about == "compared", names.index(one.finding.target.name)))


class Drawing:
    """Draws the pages of one answer, and portrays what is not a heatmap, for pages and report alike."""

    def __init__(self, answer: Answer, templates: Templates, page_wording: Wording) -> None:
        self.answer = answer
        self.page_wording = page_wording
        self._templates = templates
        self._maps = shown_maps(answer)
        self._told = shown_told(answer)
        self._portrayed: dict[tuple[int, str, int], tuple[Layout, Portrayal]] = {}

    def portrayal(self, finding: Finding, told: GradedExplanation, wording: Wording, layout: Layout) -> Portrayal:
        """What results say of such an explanation in these words; drawn once, since charts and cines take long."""
        place = (id(told), wording.language.value, id(layout))
        if place not in self._portrayed:
            made = portray(told, Look(self.answer, finding, self._templates, layout, wording))
            self._portrayed[place] = (layout, made)  # the layout is kept: another must not get its id
        return self._portrayed[place][1]

    def drawn(self, layout: Layout) -> Iterator[Drawn]:
        """Pages of each shown map, of segments without a map, and notices of what is not shown.

        None of an image that nothing is said of: see `no_statement`.
        """
        wording, answer = self.page_wording, self.answer
        for finding in answer.findings:
            name = finding.target.name
            shown = [heatmap for one, heatmap in self._maps if one is finding]
            for heatmap in shown:
                pages = map_pages(answer, finding, heatmap, layout, wording)
                yield Drawn(
                    "map",
                    finding,
                    heatmap.method,
                    map_key(heatmap),
                    f"{name} by {heatmap.name}",
                    pages,
                    heatmap.card.grade,
                )
            for one in (graded for of, graded in self._told if of is finding):
                yield from self._of_told(finding, one, layout)
            if not shown and finding.mask is not None:
                pages = mask_pages(answer, finding, finding.mask, layout, wording)
                yield Drawn("segment", finding, None, "mask", f"{name}, segment", pages)
            withheld: list[MapInSource | GradedExplanation] = [
                graded for graded in finding.told if graded.card.withheld
            ]
            withheld += [heatmap for heatmap in finding.maps if heatmap.card.withheld and heatmap.part is None]
            if withheld or (finding.refused and finding.present and not shown):
                page = notice_page(answer, finding, withheld, layout, wording)
                yield Drawn("notice", finding, None, "notice", f"{name}: explanation not shown", [page])
        yield from self._side_by_side(layout)

    def cines(self, layout: Layout) -> Iterator[Drawn]:
        """The steps of each explanation that has some: frames of one thing, whatever the layout says of volumes."""
        for finding, told in self._told:
            portrayal = self.portrayal(finding, told, self.page_wording, layout)
            if portrayal.cine:
                frames = cine_pages(self.answer, finding, told, portrayal, layout, self.page_wording)
                words = f"{finding.target.name}: {told.method}, frames"
                yield Drawn("cine", finding, told.method, told_key(told), words, frames, told.card.grade)

    def no_statement(self, layout: Layout) -> Page | None:
        """The page that says that nothing is said of this image; None where the package answers."""
        return no_statement_page(self.answer, layout, self.page_wording) if no_statement(self.answer) else None

    def _side_by_side(self, layout: Layout) -> Iterator[Drawn]:
        for comparison in comparisons(self.answer, self._maps, layout, self.page_wording):
            key = f"{comparison.kind} {map_keys(comparison.maps)}"
            about = comparison.finding.target.name if comparison.kind == "methods" else str(comparison.method)
            description = f"{about}: {comparison.kind} side by side"
            grade = worst_of(one.card.grade for one in comparison.maps)
            yield Drawn("compared", comparison.finding, comparison.method, key, description, [comparison.page], grade)

    def _of_told(self, finding: Finding, told: GradedExplanation, layout: Layout) -> Iterator[Drawn]:
        portrayal = self.portrayal(finding, told, self.page_wording, layout)
        words = f"{finding.target.name}: {told.method}"
        pages = told_pages(self.answer, finding, told, portrayal, layout, self.page_wording)
        if pages:
            yield Drawn("told", finding, told.method, told_key(told), words, pages, told.card.grade)
