"""Segmentations over the frames of one multi-frame instance: a segment has those frames of which it says something."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydicom import Dataset

from whyray.base.frame_array import spread_frames
from whyray.results.answer import Answer, MapInSource, Result
from whyray.results.frame_evidence import FrameObjects
from whyray.results.frame_stack import (
    StackedMap,
    frame_number,
    image_of_frames,
    stacked_masks,
    stacked_structures,
)
from whyray.results.segmentation import (
    Segment,
    attribution_segments,
    can_be_label_map,
    mask_segments,
    region_segments,
    segmentation,
    structure_segments,
)
from whyray.results.segmentation_frames import Form
from whyray.results.template_objects import SeriesTemplate
from whyray.results.templates import Templates
from whyray.results.uids import UidSource, map_key, typed_key


@dataclass(frozen=True)
class FrameSegmentations:
    """Makes the Segmentations of the frames of one instance and enters in `objects` which segment is where.

    Attributes
    ----------
    answers, explained
        About all frames, and about those that are explained, in the order of the source.
    whole
        About all of them together, as `over_frames` gives it.
    """

    answers: Sequence[Answer]
    explained: Sequence[Answer]
    whole: Answer
    templates: Templates
    uids: UidSource
    objects: FrameObjects

    def regions(self, maps: Sequence[StackedMap]) -> list[Result]:
        """One object for the salient regions of all maps; where the site wants it, one more for the maps' fractions."""
        if not maps:
            return []
        shown = [(stack.finding, _spread(stack, len(self.explained))) for stack in maps]
        regions = [
            replace(segment, frames=stack.places)
            for segment, stack in zip(region_segments(self.templates, self.uids, shown), maps, strict=True)
        ]
        key = "regions" + str([[*stack.name, map_key(stack.map)] for stack in maps])
        dataset = self._segmentation(self.explained, regions, self.templates.series.seg, key, 1)
        for number, (segment, stack) in enumerate(zip(regions, maps, strict=True), start=1):
            for answer in self._answers_with(segment, self.explained):
                self.objects.regions[frame_number(answer), stack.name] = (dataset, number)
        names = ", ".join(dict.fromkeys(finding.target.name for finding, _ in shown))
        made = [Result("seg", dataset, None, None, f"salient regions of {names}")]
        if self.templates.layout.segmentation.fractional:
            of_label = {segment.label: segment.frames for segment in regions}
            fractions = [
                replace(segment, frames=of_label[segment.label.removesuffix(" against")])
                for segment in attribution_segments(self.uids, regions, shown)
            ]
            fractional = self._segmentation(
                self.explained, fractions, self.templates.series.seg, key, 2, form="FRACTIONAL"
            )
            made.append(Result("seg", fractional, None, None, f"attribution of {names}"))
        return made

    def structures(self) -> list[Result]:
        """One object for all structures that explanations used."""
        graded, places = stacked_structures(self.explained)
        if not graded:
            return []
        count = len(self.explained)
        segments = [
            replace(
                segment,
                mask=spread_frames(segment.mask, places[segment.label], count),
                frames=places[segment.label],
            )
            for segment in structure_segments(self.templates, self.uids, graded)
        ]
        names = [segment.label for segment in segments]
        key = "structures" + json.dumps([names, sorted({typed_key(one) for _, one in graded})])
        dataset = self._segmentation(self.explained, segments, self.templates.series.segments, key, 2)
        for number, segment in enumerate(segments, start=1):
            for answer in self._answers_with(segment, self.explained):
                self.objects.structures[frame_number(answer), segment.label] = (dataset, number)
        return [Result("seg", dataset, None, None, "structures " + ", ".join(names))]

    def segments(self) -> list[Result]:
        """One object for all segments of a segmentation package, on all frames."""
        masks = stacked_masks(self.answers)
        if not masks:
            return []
        findings = [
            replace(
                finding,
                mask=None if finding.mask is None else spread_frames(finding.mask, places, len(self.answers)),
            )
            for finding, places in masks.values()
        ]
        segments = [
            replace(segment, frames=places)
            for segment, (_, places) in zip(
                mask_segments(self.whole, self.templates, self.uids, findings), masks.values(), strict=True
            )
        ]
        key = f"segments{list(masks)}"
        dataset = self._segmentation(self.answers, segments, self.templates.series.segments, key, 1)
        for number, (name, segment) in enumerate(zip(masks, segments, strict=True), start=1):
            for answer in self._answers_with(segment, self.answers):
                self.objects.masks[frame_number(answer), name] = (dataset, number)
        return [Result("seg", dataset, None, None, "segments " + ", ".join(masks))]

    def _segmentation(
        self,
        answers: Sequence[Answer],
        segments: Sequence[Segment],
        series: SeriesTemplate,
        key: str,
        instance_number: int,
        form: Form | None = None,
    ) -> Dataset:
        layout = self.templates.layout.segmentation
        if form is None:
            form = "LABELMAP" if layout.label_maps and can_be_label_map(segments) else "BINARY"
        return segmentation(
            replace(self.whole, image=image_of_frames(answers)),
            self.templates,
            self.uids,
            segments,
            series=series,
            key=key,
            omit_empty_frames=layout.omit_empty_frames,
            instance_number=instance_number,
            form=form,
        )

    def _answers_with(self, segment: Segment, answers: Sequence[Answer]) -> list[Answer]:
        """About the frames that the segment has in its object."""
        omit = self.templates.layout.segmentation.omit_empty_frames
        return [answers[place] for place in segment.frames or () if not omit or segment.mask[place].any()]


def _spread(stack: StackedMap, count: int) -> MapInSource:
    return replace(
        stack.map,
        values=spread_frames(stack.map.values, stack.places, count),
        covered=spread_frames(stack.map.covered, stack.places, count),
        region=spread_frames(stack.map.region, stack.places, count),
        on_grid=None,
        strengths=None,
        extremes=None,
        checksums=None,
    )


__all__ = ["FrameSegmentations"]
