"""Measurement groups of the report: one a finding, and one more for each further explanation of it.

TID 1411 where a region of a volume is shown, TID 1410 for a planar one, TID 1501 where there is no region (PS3.16).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydicom import Dataset

import whyray
from whyray.base.coded_concept import CodedConcept
from whyray.imaging import SourceImage
from whyray.quality import Measurement, QualityCard
from whyray.results import content_items as sr
from whyray.results.answer import Answer, Finding, GradedExplanation, MapInSource
from whyray.results.coding import NO_UNITS, PERCENT, dcm, of_target, own
from whyray.results.measured import value_concept, value_unit
from whyray.results.multi_frame import frame_label
from whyray.results.outlines import largest_outline
from whyray.results.page.key_slices import key_slices
from whyray.results.reasons import reasons_in
from whyray.results.references import instance_item, is_multi_frame
from whyray.results.report_told import ShownTold, by_structure, row_item
from whyray.results.side import site_modifiers, site_of
from whyray.results.templates import Concepts, Templates, Wording
from whyray.results.uids import UidSource, map_key, told_key

_COMMENT = dcm("121106", "Comment")
_SITE = CodedConcept(value="363698007", scheme="SCT", meaning="Finding Site")
_SOURCE_FOR_SEGMENTATION = dcm("121233", "Source image for segmentation")
_SOURCE_OF_MEASUREMENT = dcm("121112", "Source of Measurement")
_IMAGE_REGION = dcm("111030", "Image Region")
_VISUAL_EXPLANATION = dcm("130401", "Visual explanation")


@dataclass(frozen=True)
class Explained:
    """One explanation that is shown, and the objects that show it (None where that kind was not asked for)."""

    map: MapInSource
    heatmap: Dataset | None
    region: tuple[Dataset, int] | None
    """The Segmentation and the number of its segment."""
    pages: tuple[Dataset, ...]

    def objects(self) -> list[Dataset]:
        """All objects that the report refers to."""
        made = [] if self.heatmap is None else [self.heatmap]
        if self.region is not None:
            made.append(self.region[0])
        return [*made, *self.pages]


def finding_groups(
    answer: Answer,
    templates: Templates,
    uids: UidSource,
    explained: Mapping[str, Sequence[Explained]],
    masks: Mapping[str, tuple[Dataset, int]],
    notices: Mapping[str, Dataset],
    wording: Wording,
    told: Mapping[str, Sequence[ShownTold]],
    frames: Mapping[str, int] | None = None,
) -> list[Dataset]:
    """All measurement groups, first of findings that have an outline; the outlines on the sources last.

    `frames`: {SOP Instance UID of a result that shows other frames of the source too: which of its frames is meant}.
    """
    writer = _Writer(answer, templates, uids, wording, frames or {})
    groups = []
    # viewers begin with the first group, and some can show those with coordinates only
    ordered = sorted(answer.findings, key=lambda finding: not _outlined(explained.get(finding.target.name, ())))
    for finding in ordered:
        shown = explained.get(finding.target.name, ())
        mask, notice = masks.get(finding.target.name), notices.get(finding.target.name)
        groups.append(writer.finding(finding, shown[0] if shown else None, mask, notice))
        groups += [writer.further(finding, each) for each in shown[1:]]
        for each in told.get(finding.target.name, ()):
            groups += writer.told(finding, each)
    for finding in ordered:
        shown = explained.get(finding.target.name, ())
        groups += [writer.outline(finding, each.map, first=each is shown[0]) for each in _outlined(shown)]
    return groups


def _outlined(shown: Sequence[Explained]) -> list[Explained]:
    return [each for each in shown if each.map.region.any()]


@dataclass(frozen=True)
class _Writer:
    answer: Answer
    templates: Templates
    uids: UidSource
    wording: Wording
    frames: Mapping[str, int]

    @property
    def concepts(self) -> Concepts:
        return self.templates.concepts

    @property
    def scheme(self) -> str:
        return self.templates.equipment.coding_scheme.designator

    def finding(
        self,
        finding: Finding,
        first: Explained | None,
        mask: tuple[Dataset, int] | None,
        notice: Dataset | None,
    ) -> Dataset:
        """The group of a finding: what the model says, the first explanation, and what is withheld or refused."""
        region = mask or (first.region if first is not None else None)
        children = [
            *self._head(finding, "finding"),
            *self._region(region),
            *self._values(finding),
            *(self._explanation(first) if first is not None else []),
            *self._not_shown(finding, notice),
        ]
        return self._group(children, has_region=region is not None)

    def further(self, finding: Finding, explained: Explained) -> Dataset:
        """The group of a further explanation of a finding."""
        children = [
            *self._head(finding, map_key(explained.map)),
            *self._region(explained.region),
            *self._explanation(explained),
        ]
        return self._group(children, has_region=explained.region is not None)

    def outline(self, finding: Finding, each: MapInSource, *, first: bool) -> Dataset:
        """The largest outline on the slice that shows most, on the source itself (TID 1410).

        A group has one kind of region (rows 7 to 9 exclude each other), and many viewers draw coordinates only: so this
        is a group beside that of the finding (for the `first` explanation) or of the further explanation, and its
        Tracking Unique Identifier is theirs, by which viewers put the two together.
        """
        image = self.answer.image
        index = 0 if image.kind == "planar" else key_slices(each.values, each.region, self.templates.layout)[0]
        if not each.region[index].any():
            index = int(each.region.reshape(len(each.region), -1).sum(axis=1).argmax())
        frame = image.frames[index]
        header = image.headers[frame.sop_instance_uid]
        on = [frame.frame_number] if is_multi_frame(header) else ()
        points = largest_outline(each.region[index])
        children = [
            *self._head(finding, "finding" if first else map_key(each)),
            sr.polyline(_IMAGE_REGION, points, instance_item(header), on),
            sr.text("CONTAINS", _COMMENT, f"{each.name}: {each.region_rule}"),
        ]
        return sr.container(dcm("125007", "Measurement Group"), children, template="1410")

    def told(self, finding: Finding, shown: ShownTold) -> list[Dataset]:
        """The groups of an explanation that is not a heatmap: as a whole, then one for each of its structures."""
        each = shown.told
        groups = []
        for structure, rows in by_structure(shown.portrayal.rows).items():
            key = told_key(each)
            if structure is None:
                children = [
                    *self._head(finding, key),
                    sr.text("CONTAINS", _COMMENT, f"{each.method}: {shown.portrayal.headline}"),
                    *(row_item(row) for row in rows),
                    *(self._result(_VISUAL_EXPLANATION, page, self._told_method(each)) for page in shown.pages),
                    *self._told_quality(each),
                ]
                groups.append(self._group(children, has_region=False))
                continue
            segment = (shown.segments or {}).get(structure)
            children = [
                *self._head(finding, f"{key}/{structure}"),
                *self._region(segment),
                sr.text("CONTAINS", _COMMENT, f"{each.method}: {structure}"),
                *(row_item(row) for row in rows),
            ]
            groups.append(self._group(children, has_region=segment is not None))
        return groups

    def _told_quality(self, each: GradedExplanation) -> list[Dataset]:
        grade = getattr(self.concepts.grades, each.card.grade.value)
        made = [sr.code("CONTAINS", self.concepts.quality_grade, grade, self._told_method(each))]
        return made + [self._measurement(one, each.method) for one in each.card.measurements]

    def _told_method(self, each: GradedExplanation) -> list[Dataset]:
        parameters = [f"{name}={value}" for name, value in sorted(each.explanation.parameters.items())]
        return algorithm(each.method, whyray.__version__, parameters)

    def _result(self, name: CodedConcept, dataset: Dataset, children: Sequence[Dataset] = ()) -> Dataset:
        """A reference to a result, or to the one of its frames that is about this answer."""
        number = self.frames.get(str(dataset.SOPInstanceUID))
        frames = () if number is None else (number,)
        return sr.image("CONTAINS", name, instance_item(dataset), frames=frames, children=children)

    def _group(self, children: Sequence[Dataset], *, has_region: bool) -> Dataset:
        if not has_region and self.answer.image.multi_frame_instance is not None:
            frame = self.answer.image.frames[0]
            source = instance_item(self.answer.image.header)
            children = [*children, sr.image("CONTAINS", _SOURCE_OF_MEASUREMENT, source, frames=[frame.frame_number])]
        template = "1501" if not has_region else "1411" if self.answer.image.kind == "volume" else "1410"
        return sr.container(dcm("125007", "Measurement Group"), children, template=template)

    def _head(self, finding: Finding, key: str) -> list[Dataset]:
        package, target, image = self.answer.package, finding.target, self.answer.image
        place = "" if image.multi_frame_instance is None else f", {frame_label(image.frames[0])}"
        made = [
            sr.text("HAS OBS CONTEXT", dcm("112039", "Tracking Identifier"), f"{package.name}: {target.name}{place}"),
            sr.uid_reference(
                "HAS OBS CONTEXT",
                dcm("112040", "Tracking Unique Identifier"),
                self.uids.uid("tracking", target.name, key),
            ),
            sr.code("CONTAINS", dcm("121071", "Finding"), of_target(target, self.scheme)),
        ]
        site = site_of(self.answer.image, target.anatomy)
        if site is not None:
            made.append(sr.code("HAS CONCEPT MOD", _SITE, site, site_modifiers(self.answer.image)))
        return [*made, *algorithm(package.name, package.version, [f"digest={package.digest}"])]

    def _region(self, region: tuple[Dataset, int] | None) -> list[Dataset]:
        """The segment, and the source images that it was made from: all frames for a volume, the frame for a plane."""
        if region is None:
            return []
        dataset, number = region
        image, reference = self.answer.image, instance_item(dataset)
        # the one frame of a label map shows all segments
        if image.kind == "volume" or dataset.SegmentationType == "LABELMAP":
            made = [sr.image("CONTAINS", dcm("121191", "Referenced Segment"), reference, segments=[number])]
        else:
            frame = _frame_of_segment(dataset, number, image)
            name = dcm("121214", "Referenced Segmentation Frame")
            made = [sr.image("CONTAINS", name, reference, frames=[frame])]
        numbers: dict[str, list[int]] = {}
        for each in image.frames:
            numbers.setdefault(each.sop_instance_uid, []).append(each.frame_number)
        for uid, frames in numbers.items():
            header = image.headers[uid]
            of_frames = frames if is_multi_frame(header) else ()
            made.append(sr.image("CONTAINS", _SOURCE_FOR_SEGMENTATION, instance_item(header), frames=of_frames))
        return made

    def _values(self, finding: Finding) -> list[Dataset]:
        target, concepts = finding.target, self.concepts
        made = []
        if finding.probability is not None:
            made.append(sr.number("CONTAINS", concepts.probability, 100 * finding.probability, PERCENT))
            made.append(sr.number("CONTAINS", concepts.threshold, 100 * target.threshold, PERCENT))
        if finding.value is not None:
            made.append(
                sr.number(
                    "CONTAINS",
                    value_concept(self.answer, finding, concepts),
                    finding.value,
                    value_unit(self.answer, finding),
                )
            )
        verdict = concepts.present if finding.present else concepts.absent
        made.append(sr.code("CONTAINS", of_target(target, self.scheme), verdict))
        return made

    def _explanation(self, explained: Explained) -> list[Dataset]:
        each = explained.map
        shown = [explained.heatmap] if explained.heatmap is not None else []
        shown += list(explained.pages)
        return [
            *(self._result(_VISUAL_EXPLANATION, dataset, self._method(each)) for dataset in shown),
            *self._quality(each),
        ]

    def _quality(self, each: MapInSource) -> list[Dataset]:
        """The quality card: overall grade, then every measurement with how it was judged."""
        card: QualityCard = each.card
        grade = getattr(self.concepts.grades, card.grade.value)
        made = [sr.code("CONTAINS", self.concepts.quality_grade, grade, self._method(each))]
        return made + [self._measurement(one, each.method) for one in card.measurements]

    def _measurement(self, one: Measurement, method: str) -> Dataset:
        name = self.concepts.measurements.get(one.name) or own(one.name, self.scheme)
        judged = f"{method}: {one.grade.value}; {one.rule}; source: {one.source}"
        if one.baseline is not None:
            judged += f"; baseline {one.baseline:.6g}"
        grade = getattr(self.concepts.grades, one.grade.value)
        return sr.number(
            "CONTAINS",
            name,
            one.value,
            NO_UNITS,
            [
                sr.code("HAS CONCEPT MOD", self.concepts.quality_grade, grade),
                sr.text("HAS PROPERTIES", _COMMENT, judged),
            ],
        )

    def _why_withheld(self, withheld: GradedExplanation | MapInSource) -> str:
        because = self.wording.withheld_because.format(method=withheld.method)
        return f"{because} {'; '.join(reasons_in(withheld.card, self.wording))}"

    def _not_shown(self, finding: Finding, notice: Dataset | None) -> list[Dataset]:
        made = []
        for told in finding.told:
            if told.card.withheld:
                why = (
                    self.wording.withheld_because.format(method=told.method)
                    + " "
                    + "; ".join(reasons_in(told.card, self.wording))
                )
                made.append(sr.text("CONTAINS", self.concepts.withheld, why))
                made += self._told_quality(told)
        for heatmap in finding.maps:
            if heatmap.card.withheld and heatmap.part is None:
                why = (
                    self.wording.withheld_because.format(method=heatmap.method)
                    + " "
                    + "; ".join(reasons_in(heatmap.card, self.wording))
                )
                made.append(sr.text("CONTAINS", self.concepts.withheld, why))
                made += self._quality(heatmap)
        for method, reason in finding.refused.items():
            why = self.wording.refused_because.format(method=method, reason=reason)
            made.append(sr.text("CONTAINS", self.concepts.refused, why))
        if notice is not None:
            made.append(self._result(self.concepts.withheld, notice))
        return made

    def _method(self, each: MapInSource) -> list[Dataset]:
        parameters = [f"{name}={value}" for name, value in sorted(each.parameters.items())]
        if each.layer is not None:
            parameters.insert(0, f"layer={each.layer}")
        return algorithm(each.method, whyray.__version__, parameters)


def algorithm(name: str, version: str, parameters: Sequence[str]) -> list[Dataset]:
    """TID 4019, Algorithm Identification."""
    return [
        sr.text("HAS CONCEPT MOD", dcm("111001", "Algorithm Name"), name),
        sr.text("HAS CONCEPT MOD", dcm("111003", "Algorithm Version"), version),
        *(sr.text("HAS CONCEPT MOD", dcm("111002", "Algorithm Parameters"), parameter) for parameter in parameters),
    ]


def _frame_of_segment(dataset: Dataset, number: int, image: SourceImage) -> int:
    """1-based number of the segment's first frame that was made from this image; 1 where there is none."""
    of_frame = None if image.multi_frame_instance is None else image.frames[0].frame_number
    for index, group in enumerate(dataset.PerFrameFunctionalGroupsSequence, start=1):
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        if int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber) == number and (
            of_frame is None or source.get("ReferencedFrameNumber") == of_frame
        ):
            return index
    return 1
