"""Which results, and which frames of them, are about which frame of a multi-frame instance: what the report refers to.

Frames of the source are named by their numbers, as in Referenced Frame Number (0008,1160).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydicom import Dataset

from whyray.config import Audience
from whyray.results.answer import Answer, is_for
from whyray.results.drawing import Drawing
from whyray.results.frame_pages import PageStack
from whyray.results.frame_stack import Name, frame_number, named_maps, named_typed
from whyray.results.report import Evidence, FrameEvidence
from whyray.results.report_groups import Explained
from whyray.results.report_typed import ShownTyped
from whyray.results.template_layout import Layout
from whyray.results.uids import UidSource
from whyray.results.wording import Wording


@dataclass(frozen=True)
class FrameObjects:
    """The objects made about the frames of one instance, entered as they are made.

    Attributes
    ----------
    audience
        Who they are for.
    pages
        Stacks of pages, with the object that holds them.
    cines
        (frame, name of the explanation) → its cine.
    heatmaps
        Name of a map → its Parametric Map.
    regions, masks, structures
        (frame, name) → the Segmentation that has it on this frame, and the number of its segment.
    """

    audience: Audience
    pages: list[tuple[PageStack, Dataset]] = field(default_factory=list)
    cines: dict[tuple[int, Name], Dataset] = field(default_factory=dict)
    heatmaps: dict[Name, Dataset] = field(default_factory=dict)
    regions: dict[tuple[int, Name], tuple[Dataset, int]] = field(default_factory=dict)
    masks: dict[tuple[int, str], tuple[Dataset, int]] = field(default_factory=dict)
    structures: dict[tuple[int, str], tuple[Dataset, int]] = field(default_factory=dict)
    _frames: dict[int, dict[str, int]] = field(default_factory=dict)

    def enter_frames(self, dataset: Dataset, answers: Sequence[Answer]) -> None:
        """Remember that the frames of `dataset` are about these answers, in this order."""
        if len(answers) > 1:
            for number, answer in enumerate(answers, start=1):
                self._frames.setdefault(frame_number(answer), {})[str(dataset.SOPInstanceUID)] = number

    def pages_about(self, about: str, name: Name, place: int) -> tuple[Dataset, ...]:
        """The objects with a page of this explanation of the frame at `place`, and no notice in its stead."""
        return tuple(
            dataset
            for stack, dataset in self.pages
            if (stack.about, stack.name) == (about, name) and place in stack.places and place not in stack.notices
        )

    def names(self) -> list[str]:
        """What all of it is called, for the UID of the report."""
        names = [str(name) for name in (*self.heatmaps, *self.regions, *self.masks, *self.structures)]
        return names + [str([stack.about, *stack.name]) for stack, _ in self.pages]

    def of_unexplained(self, answer: Answer, uids: UidSource) -> FrameEvidence:
        """Evidence of a frame that is only answered."""
        return FrameEvidence(answer, uids, Evidence(masks=self._masks_of(answer)))

    def of_explained(
        self, answer: Answer, uids: UidSource, place: int, drawing: Drawing, wording: Wording, layout: Layout
    ) -> FrameEvidence:
        """Evidence of the frame at `place` among the explained ones; `drawing` portrays what is not a heatmap."""
        notices = {stack.notices[place]: dataset for stack, dataset in reversed(self.pages) if place in stack.notices}
        evidence = Evidence(
            explained=self._maps_of(answer, place),
            masks=self._masks_of(answer),
            notices=notices,
            typed=self._typed_of(answer, place, drawing, wording, layout),
        )
        return FrameEvidence(answer, uids, evidence, self._frames.get(frame_number(answer), {}))

    def _masks_of(self, answer: Answer) -> dict[str, tuple[Dataset, int]]:
        number = frame_number(answer)
        named = {finding.target.name: (number, finding.target.name) for finding in answer.findings}
        return {name: self.masks[key] for name, key in named.items() if key in self.masks}

    def _maps_of(self, answer: Answer, place: int) -> dict[str, list[Explained]]:
        number, explained = frame_number(answer), dict[str, list[Explained]]()
        for name, finding, heatmap in named_maps(answer):
            if not heatmap.card.withheld:
                pages = self.pages_about("map", name, place)
                region, drawn = self.regions.get((number, name)), is_for(heatmap, self.audience)
                one = Explained(heatmap, self.heatmaps.get(name), region, pages, drawn)
                explained.setdefault(finding.target.name, []).append(one)
        return explained

    def _typed_of(
        self, answer: Answer, place: int, drawing: Drawing, wording: Wording, layout: Layout
    ) -> dict[str, list[ShownTyped]]:
        number, typed = frame_number(answer), dict[str, list[ShownTyped]]()
        for name, finding, one in named_typed(answer):
            if one.card.withheld:
                continue
            cine = self.cines.get((number, name))
            pages = self.pages_about("typed", name, place) + (() if cine is None else (cine,))
            keys = {structure.name: (number, structure.name) for structure in one.structures}
            used = {name: self.structures[key] for name, key in keys.items() if key in self.structures}
            portrayal = drawing.portrayal(finding, one, wording, layout)
            typed.setdefault(finding.target.name, []).append(ShownTyped(one, portrayal, pages, used))
        return typed


def explained_first(frames: Sequence[FrameEvidence]) -> list[FrameEvidence]:
    """In the order of the source, those with a map first: viewers begin with the first measurement group."""
    return sorted(frames, key=lambda one: not one.evidence.explained)


__all__ = ["FrameObjects", "explained_first"]
