"""Measurement groups of the report: one a finding, and one more for each further explanation of it.

TID 1411 where a region of a volume is shown, TID 1410 for a planar one, TID 1501 where there is no region (PS3.16).
highdicom's groups (0.28.2) have no parameter for visual explanations, evaluations in words, and what a measurement or
evaluation has under it, name segments beside frames, and take a millisecond each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydicom import Dataset

import whyray
from whyray.base.coded_concept import CodedConcept
from whyray.base.frame_array import counts_of
from whyray.imaging import SourceImage
from whyray.quality import Measurement
from whyray.results import content_items as sr
from whyray.results.answer import Answer, Finding, GradedExplanation, MapInSource
from whyray.results.coding import NO_UNITS, PERCENT, dcm, of_target, own
from whyray.results.measured import area_caveat, value_concept, value_unit
from whyray.results.multi_frame import frame_label
from whyray.results.outlines import largest_outline
from whyray.results.page.key_slices import key_slices
from whyray.results.prevalence import prevalence_words
from whyray.results.references import frames_of_instances
from whyray.results.report_typed import ShownTyped, by_structure, row_item
from whyray.results.side import side_concept, site_of
from whyray.results.template_objects import Concepts
from whyray.results.templates import Templates
from whyray.results.trust import agreement_in, method_title_in, trust_in
from whyray.results.uids import UidSource, map_key, typed_key
from whyray.results.wording import Wording

_COMMENT = dcm("121106", "Comment")
_VISUAL_EXPLANATION = dcm("130401", "Visual explanation")
_GROUP = dcm("125007", "Measurement Group")
_TRACKING_IDENTIFIER = dcm("112039", "Tracking Identifier")
_TRACKING_UID = dcm("112040", "Tracking Unique Identifier")
_FINDING = dcm("121071", "Finding")
_FINDING_SITE = CodedConcept(value="363698007", scheme="SCT", meaning="Finding Site")
_LATERALITY = CodedConcept(value="272741003", scheme="SCT", meaning="Laterality")
_SEGMENT = dcm("121191", "Referenced Segment")
_SEGMENTATION_FRAME = dcm("121214", "Referenced Segmentation Frame")
_SOURCE_FOR_SEGMENTATION = dcm("121233", "Source Image for Segmentation")
_SOURCE_OF_MEASUREMENT = dcm("121112", "Source of Measurement")
_PLANAR, _VOLUMETRIC, _WITHOUT_REGION = "1410", "1411", "1501"
"""Templates of groups."""
_ALGORITHM_NAME = dcm("111001", "Algorithm Name")
_ALGORITHM_VERSION = dcm("111003", "Algorithm Version")
_ALGORITHM_PARAMETERS = dcm("111002", "Algorithm Parameters")


@dataclass(frozen=True)
class Explained:
    """One explanation that is shown, and the objects that show it (None where that kind was not asked for)."""

    map: MapInSource
    heatmap: Dataset | None
    region: tuple[Dataset, int] | None
    """The Segmentation and the number of its segment."""
    pages: tuple[Dataset, ...]
    drawn: bool = True
    """Whether its outline is drawn on the source: viewers show every one that a report holds."""

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
    typed: Mapping[str, Sequence[ShownTyped]],
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
        groups += [writer.further(finding, further) for further in shown[1:]]
        for graded in typed.get(finding.target.name, ()):
            groups += writer.typed(finding, graded)
    for finding in ordered:
        shown = explained.get(finding.target.name, ())
        groups += [writer.outline(finding, outlined.map, first=outlined is shown[0]) for outlined in _outlined(shown)]
    return groups


def _outlined(shown: Sequence[Explained]) -> list[Explained]:
    return [explained for explained in shown if explained.drawn and explained.map.region.any()]


@dataclass(frozen=True)
class _Writer:
    answer: Answer
    templates: Templates
    uids: UidSource
    wording: Wording
    frames: Mapping[str, int]
    sources: dict[CodedConcept, list[Dataset]] = field(default_factory=dict)
    """References to the images by what they are to the group: the same items in every group."""

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
        items = [
            *self._values(finding),
            *(self._explanation(first) if first is not None else []),
            *self._not_shown(finding, notice),
        ]
        return self._group(finding, "finding", items, mask or (first.region if first is not None else None))

    def further(self, finding: Finding, explained: Explained) -> Dataset:
        """The group of a further explanation of a finding."""
        key = map_key(explained.map)
        return self._group(finding, key, self._explanation(explained), explained.region, of=explained.map.method)

    def outline(self, finding: Finding, heatmap: MapInSource, *, first: bool) -> Dataset:
        """The largest outline on the slice that shows most, on the source itself (TID 1410).

        A group has one kind of region (rows 7 to 9 exclude each other), and many viewers draw coordinates only: so this
        is a group beside that of the finding (for the `first` explanation) or of the further explanation, and its
        Tracking Unique Identifier is theirs, by which viewers put the two together.
        """
        image = self.answer.image
        index = 0 if image.kind == "planar" else key_slices(heatmap.frame_strengths, self.templates.layout)[0]
        if not heatmap.region[index].any():
            index = int(counts_of(heatmap.region).argmax())
        ((header, frames),) = frames_of_instances(image, [image.frames[index]])
        region = sr.outline(largest_outline(heatmap.region, index), header, frames)
        rule = self.wording.region_rules.get(heatmap.region_rule, heatmap.region_rule)
        head = self._head(finding, "finding") if first else self._head(finding, map_key(heatmap), of=heatmap.method)
        rule_item = sr.text("CONTAINS", _COMMENT, f"{heatmap.name}: {rule}")
        return sr.container(_GROUP, [*head, region, rule_item], template=_PLANAR)

    def typed(self, finding: Finding, shown: ShownTyped) -> list[Dataset]:
        """The groups of an explanation that is not a heatmap: as a whole, then one for each of its structures."""
        graded, key, names = shown.graded, typed_key(shown.graded), self.wording.regions.names
        groups = []
        for structure, rows in by_structure(shown.portrayal.rows).items():
            about = shown.portrayal.headline if structure is None else names.get(structure, structure)
            items = [sr.text("CONTAINS", _COMMENT, f"{graded.method}: {about}"), *(row_item(row) for row in rows)]
            if structure is None:
                items += [self._result(_VISUAL_EXPLANATION, page, self._method(graded)) for page in shown.pages]
                groups.append(self._group(finding, key, [*items, *self._quality(graded)], of=graded.method))
            else:
                region, of = (shown.segments or {}).get(structure), f"{graded.method}, {about}"
                groups.append(self._group(finding, f"{key}/{structure}", items, region, of=of))
        return groups

    def _result(self, name: CodedConcept, dataset: Dataset, children: Sequence[Dataset] = ()) -> Dataset:
        """A reference to a result, or to the one of its frames that is about this answer."""
        number = self.frames.get(str(dataset.SOPInstanceUID))
        return sr.image(name, dataset, frames=() if number is None else (number,), children=children)

    def _group(
        self,
        finding: Finding,
        key: str,
        items: Sequence[Dataset],
        region: tuple[Dataset, int] | None = None,
        *,
        of: str = "",
    ) -> Dataset:
        """A group with its head, its region or else the frame that it is about, and what it says."""
        template, about = self._without_region() if region is None else self._of_segment(*region)
        return sr.container(_GROUP, [*self._head(finding, key, of=of), *about, *items], template=template)

    def _head(self, finding: Finding, key: str, *, of: str = "") -> list[Dataset]:
        """What all templates of groups begin with: what is tracked, found, where, and by which model.

        `of`: what a group besides the finding's own is of. Each names the finding, by which viewers label it; to who
        reads the report as text the same line over each looked like as many findings.
        """
        package, target, image = self.answer.package, finding.target, self.answer.image
        place = "" if image.multi_frame_instance is None else f", {frame_label(image.frames[0])}"
        site, side = site_of(image, target.anatomy), side_concept(image)
        sides = [] if side is None else [sr.code("HAS CONCEPT MOD", _LATERALITY, side)]
        tracked = f"{package.name}: {target.name}{place}"
        return [
            sr.text("HAS OBS CONTEXT", _TRACKING_IDENTIFIER, f"{tracked} ({of})" if of else tracked),
            sr.uid("HAS OBS CONTEXT", _TRACKING_UID, self.uids.uid("tracking", target.name, key)),
            sr.code("CONTAINS", _FINDING, of_target(target, self.scheme)),
            *([] if site is None else [sr.code("HAS CONCEPT MOD", _FINDING_SITE, site, sides)]),
            *algorithm(package.name, package.version, [f"digest={package.digest}"]),
        ]

    def _without_region(self) -> tuple[str, list[Dataset]]:
        single = self.answer.image.multi_frame_instance is not None
        return _WITHOUT_REGION, self._sources(_SOURCE_OF_MEASUREMENT) if single else []

    def _of_segment(self, dataset: Dataset, number: int) -> tuple[str, list[Dataset]]:
        """Template and items of a group about a segment, with the source images that it was made from."""
        sources = self._sources(_SOURCE_FOR_SEGMENTATION)
        # the one frame of a label map shows all segments
        if self.answer.image.kind == "volume" or dataset.SegmentationType == "LABELMAP":
            return _VOLUMETRIC, [sr.image(_SEGMENT, dataset, segment=number), *sources]
        # PS3.3 table 10-3: where frames are named, segments are not
        frame = _frame_of_segment(dataset, number, self.answer.image)
        return _PLANAR, [sr.image(_SEGMENTATION_FRAME, dataset, frames=[frame]), sources[0]]

    def _sources(self, name: CodedConcept) -> list[Dataset]:
        """References to all images of the answer: frames where they are frames of one instance."""
        if name not in self.sources:
            instances = frames_of_instances(self.answer.image)
            self.sources[name] = [sr.image(name, header, frames=frames) for header, frames in instances]
        return self.sources[name]

    def _values(self, finding: Finding) -> list[Dataset]:
        target, concepts = finding.target, self.concepts
        made, threshold = [], []
        if finding.probability is not None:
            made.append(sr.number("CONTAINS", concepts.probability, 100 * finding.probability, PERCENT))
            threshold.append(sr.number("HAS PROPERTIES", concepts.threshold, 100 * target.threshold, PERCENT))
            words = prevalence_words(self.answer, finding, self.wording)
            if finding.prevalence is not None and words is not None:
                comments = [sr.text("HAS PROPERTIES", _COMMENT, words)]
                made.append(
                    sr.number("CONTAINS", concepts.prevalence, 100 * finding.prevalence.value, PERCENT, comments)
                )
        if finding.value is not None:
            unit = value_unit(self.answer, finding)
            caveat = area_caveat(self.answer, finding, self.wording)
            comments = [sr.text("HAS PROPERTIES", _COMMENT, caveat)] if caveat else []
            made.append(
                sr.number("CONTAINS", value_concept(self.answer, finding, concepts), finding.value, unit, comments)
            )
            if finding.probability is None and finding.mask is None and finding.decided:
                threshold.append(sr.number("HAS PROPERTIES", concepts.threshold, target.threshold, unit))
        if finding.agreement is not None:
            comments = [sr.text("HAS PROPERTIES", _COMMENT, agreement_in(finding.agreement, self.wording))]
            made.append(sr.number("CONTAINS", concepts.agreement, 100 * finding.agreement.value, PERCENT, comments))
        if finding.verdict is not None:
            verdict = concepts.present if finding.verdict else concepts.absent
            made.append(sr.code("CONTAINS", of_target(target, self.scheme), verdict, threshold))
        return made

    def _explanation(self, explained: Explained) -> list[Dataset]:
        heatmap = explained.map
        shown = [explained.heatmap] if explained.heatmap is not None else []
        shown += list(explained.pages)
        return [
            *(self._result(_VISUAL_EXPLANATION, dataset, self._method(heatmap)) for dataset in shown),
            *self._quality(heatmap),
        ]

    def _quality(self, graded: MapInSource | GradedExplanation) -> list[Dataset]:
        """The quality card: overall grade, below it every measurement and how it was judged; what it means to a reader.

        Below and not beside it: viewers draw the numbers of a group over the image, and these are not the reader's.
        """
        grade = getattr(self.concepts.grades, graded.card.grade.value)
        measured = [self._measurement(one, graded.method) for one in graded.card.measurements]
        trust = trust_in(graded.card, self.wording)
        sentences = [trust.sentence or trust.badge, *([trust.record] if trust.record else [])]
        return [
            sr.code("CONTAINS", self.concepts.quality_grade, grade, [*self._method(graded), *measured]),
            *(sr.text("CONTAINS", self.concepts.trust, sentence) for sentence in dict.fromkeys(sentences)),
        ]

    def _measurement(self, one: Measurement, method: str) -> Dataset:
        name = self.concepts.measurements.get(one.name) or own(one.name, self.scheme)
        judged = f"{method}: {one.grade.value}; {one.rule}; source: {one.source}"
        if one.baseline is not None:
            judged += f"; baseline {one.baseline:.6g}"
        grade = getattr(self.concepts.grades, one.grade.value)
        return sr.number(
            "HAS PROPERTIES",
            name,
            one.value,
            NO_UNITS,
            [
                sr.code("HAS CONCEPT MOD", self.concepts.quality_grade, grade),
                sr.text("HAS PROPERTIES", _COMMENT, judged),
            ],
        )

    def _not_shown(self, finding: Finding, notice: Dataset | None) -> list[Dataset]:
        made = []
        graded: list[MapInSource | GradedExplanation] = [*finding.typed, *finding.maps]
        for withheld in (
            graded_explanation
            for graded_explanation in graded
            if graded_explanation.card.withheld and not _is_part(graded_explanation)
        ):
            because = self.wording.withheld_because.format(method=method_title_in(withheld.method, self.wording))
            why = f"{because} {trust_in(withheld.card, self.wording).sentence}"
            made += [sr.text("CONTAINS", self.concepts.withheld, why), *self._quality(withheld)]
        for method, refusal in finding.refused.items():
            reason, title = self.wording.refusals.clause(refusal), method_title_in(method, self.wording)
            why = self.wording.refused_because.format(method=title, reason=reason)
            comments = [sr.text("HAS PROPERTIES", _COMMENT, f"{method}: {refusal.words}")]
            made.append(sr.text("CONTAINS", self.concepts.refused, why, comments))
        if notice is not None:
            made.append(self._result(self.concepts.withheld, notice))
        return made

    def _method(self, graded: MapInSource | GradedExplanation) -> list[Dataset]:
        layer, parameters = (
            (graded.layer, graded.parameters)
            if isinstance(graded, MapInSource)
            else (None, graded.explanation.parameters)
        )
        settings = [f"{name}={value}" for name, value in sorted(parameters.items())]
        return algorithm(
            graded.method, whyray.__version__, settings if layer is None else [f"layer={layer}", *settings]
        )


def algorithm(name: str, version: str, parameters: Sequence[str]) -> list[Dataset]:
    """TID 4019, Algorithm Identification."""
    return [
        sr.text("HAS CONCEPT MOD", _ALGORITHM_NAME, name),
        sr.text("HAS CONCEPT MOD", _ALGORITHM_VERSION, version),
        *(sr.text("HAS CONCEPT MOD", _ALGORITHM_PARAMETERS, parameter) for parameter in parameters),
    ]


def _is_part(graded: MapInSource | GradedExplanation) -> bool:
    return isinstance(graded, MapInSource) and graded.part is not None


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
