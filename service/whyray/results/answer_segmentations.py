"""Segmentations of one answer: salient regions, structures, and the segments of a segmentation package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydicom import Dataset

from whyray.results.answer import Answer, Finding, GradedExplanation, MapInSource, Result
from whyray.results.segmentation import (
    Segment,
    attribution_segments,
    can_be_label_map,
    mask_segments,
    region_segments,
    segmentation,
    structure_segments,
)
from whyray.results.segmentation_frames import Form, may_keep_empty
from whyray.results.template_objects import SeriesTemplate
from whyray.results.templates import Templates
from whyray.results.uids import UidSource, map_key, map_keys, typed_key


@dataclass
class AnswerSegmentations:
    """Makes the Segmentations of one answer, and remembers which segment shows what, for the report.

    Attributes
    ----------
    maps, typed
        What is shown, with its findings.
    regions
        (target, key of the map) → the Segmentation with its region, and the number of its segment.
    masks, structures
        Target, or structure, → the same of its own.
    """

    answer: Answer
    templates: Templates
    uids: UidSource
    maps: Sequence[tuple[Finding, MapInSource]]
    typed: Sequence[tuple[Finding, GradedExplanation]]
    regions: dict[tuple[str, str], tuple[Dataset, int]] = field(default_factory=dict)
    masks: dict[str, tuple[Dataset, int]] = field(default_factory=dict)
    structures: dict[str, tuple[Dataset, int]] = field(default_factory=dict)

    def all(self) -> list[Result]:
        """One object for all regions, one for all structures, one for all segments of a segmentation package."""
        made = []
        regions = region_segments(self.templates, self.uids, self.maps)
        if regions:
            key = (
                "regions"
                + map_keys([heatmap for _, heatmap in self.maps])
                + str([one.target.name for one, _ in self.maps])
            )
            dataset = self._segmentation(
                regions, self._form(regions), series=self.templates.series.seg, key=key, instance_number=1
            )
            for number, (finding, heatmap) in enumerate(self.maps, start=1):
                self.regions[finding.target.name, map_key(heatmap)] = (dataset, number)
            made.append(Result("seg", dataset, None, None, "salient regions of " + _names(self.maps)))
            if self.templates.layout.segmentation.fractional:
                made.append(self._fractional(regions, key))
        made += self._structure_segmentation()
        masked = [finding for finding in self.answer.findings if finding.mask is not None]
        if masked:
            masks = mask_segments(self.answer, self.templates, self.uids, masked)
            key = "segments" + str([finding.target.name for finding in masked])
            dataset = self._segmentation(
                masks, self._form(masks), series=self.templates.series.segments, key=key, instance_number=1
            )
            for number, finding in enumerate(masked, start=1):
                self.masks[finding.target.name] = (dataset, number)
            description = "segments " + ", ".join(finding.name for finding in masked)
            made.append(Result("seg", dataset, None, None, description))
        return made

    def _form(self, segments: Sequence[Segment]) -> Form:
        return "LABELMAP" if self.templates.layout.segmentation.label_maps and can_be_label_map(segments) else "BINARY"

    def _segmentation(
        self, segments: Sequence[Segment], form: Form, *, series: SeriesTemplate, key: str, instance_number: int
    ) -> Dataset:
        layers = 1 if form == "LABELMAP" else len(segments)
        omits = self.templates.layout.segmentation.omit_empty_frames
        return segmentation(
            self.answer,
            self.templates,
            self.uids,
            segments,
            series=series,
            key=key,
            omit_empty_frames=omits or not may_keep_empty(self.answer.image, layers, form),
            instance_number=instance_number,
            form=form,
        )

    def _fractional(self, regions: Sequence[Segment], key: str) -> Result:
        """The heatmaps as fractional segments, beside their regions."""
        segments = attribution_segments(self.uids, regions, self.maps)
        dataset = self._segmentation(
            segments, "FRACTIONAL", series=self.templates.series.seg, key=key, instance_number=2
        )
        return Result("seg", dataset, None, None, "attribution of " + _names(self.maps))

    def _structure_segmentation(self) -> list[Result]:
        segments = structure_segments(self.templates, self.uids, self.typed)
        if not segments:
            return []
        names = [segment.label for segment in segments]
        key = "structures" + str(names) + str([typed_key(graded) for _, graded in self.typed if graded.structures])
        dataset = self._segmentation(
            segments, self._form(segments), series=self.templates.series.segments, key=key, instance_number=2
        )
        self.structures = {name: (dataset, number) for number, name in enumerate(names, start=1)}
        return [Result("seg", dataset, None, None, "structures " + ", ".join(names))]


def _names(shown: Sequence[tuple[Finding, MapInSource]]) -> str:
    return ", ".join(dict.fromkeys(finding.name for finding, _ in shown))
