"""The Structured Report of an answer: Comprehensive 3D SR, TID 1500 (PS3.16), one measurement group a finding.

Not used of highdicom (0.28.2), and why:

* Its content items, groups and observer are made in ten times the time (`content_items`, `report_groups`).
* `Comprehensive3DSR` and `KeyObjectSelectionDocument` take the patient from attributes of the first evidence, which
  sources may lack (AttributeError) or hold what is not valid (ValueError), write the clock's time, and copy the whole
  content: 4.3 s of processor time for 3,000 references, where what is done here takes 0.3 s.
* `MeasurementReport` refuses a report without a measurement group, which is that of an answer without findings, and
  knows no Qualitative Evaluations (row 12 of TID 1500).
* `ImageLibrary` names no frames, and asks each image for spacing, orientation and thickness, which many radiographs and
  all multi-frame images don't have where it looks (AttributeError).
* Its reader fails on what PS3.3 allows: `srread` on a measurement without a value (IndexError), `referenced_segment` of
  a group on a concept name with a Long Code Value beside it (AttributeError), which the decision threshold has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydicom import Dataset
from pydicom.uid import Comprehensive3DSRStorage

import whyray
from whyray.base.coded_concept import CodedConcept
from whyray.results import content_items as sr
from whyray.results.answer import Answer
from whyray.results.coding import SOURCE, dcm
from whyray.results.header import new_dataset
from whyray.results.image_notes import note_items
from whyray.results.page import frames_explained_words, no_statement_words
from whyray.results.references import evidence_items, frames_of_instances
from whyray.results.report_groups import Explained, finding_groups
from whyray.results.report_typed import ShownTyped
from whyray.results.side import add_side
from whyray.results.templates import Templates
from whyray.results.uids import UidSource
from whyray.results.wording import Wording

SOP_CLASS_UID = Comprehensive3DSRStorage
_QUALITATIVE = CodedConcept(value="C0034375", scheme="UMLS", meaning="Qualitative Evaluations")
_COMMENT = dcm("121106", "Comment")
_LANGUAGE = dcm("121049", "Language of Content Item and Descendants")


@dataclass(frozen=True)
class EarlierResult:
    """A result of an earlier revision, as the catalog knows it."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str


@dataclass(frozen=True)
class Evidence:
    """What the report refers to: the other results, made before it.

    `explained` is keyed by target name; `others` are objects that belong to the answer without being part of a group.
    """

    explained: dict[str, list[Explained]] = field(default_factory=dict)
    masks: dict[str, tuple[Dataset, int]] = field(default_factory=dict)
    notices: dict[str, Dataset] = field(default_factory=dict)
    typed: dict[str, list[ShownTyped]] = field(default_factory=dict)


@dataclass(frozen=True)
class FrameEvidence:
    """One frame's own answer, and what the report refers to for it.

    `uids` tell its findings from those of other frames. `frames`: {SOP Instance UID of a multi-frame result: which of
    its frames is about this one}.
    """

    answer: Answer
    uids: UidSource
    evidence: Evidence
    frames: Mapping[str, int] = field(default_factory=dict)


def report(
    answer: Answer,
    templates: Templates,
    uids: UidSource,
    evidence: Evidence,
    wording: Wording,
    earlier: Sequence[EarlierResult],
    *,
    key: str,
    of_frames: Sequence[FrameEvidence] = (),
) -> Dataset:
    """The one report of an answer: all findings, their explanations and quality, and why one may be missing.

    With `of_frames`, of several frames of one instance: the findings are those of each frame, and `answer` is about all
    of them together.
    """
    made = new_dataset(
        answer,
        templates,
        uids,
        kind="sr",
        sop_class_uid=SOP_CLASS_UID,
        sop_instance_uid=uids.uid("sr", key),
    )
    made.CompletionFlag = "COMPLETE"
    made.PreliminaryFlag = "PRELIMINARY"
    made.VerificationFlag = "UNVERIFIED"
    made.ReferencedPerformedProcedureStepSequence = []
    made.PerformedProcedureCodeSequence = []
    predecessors = _predecessors(answer, earlier)
    if predecessors:
        made.PredecessorDocumentsSequence = predecessors
    add_side(made, answer.image)
    _add_coding_scheme(made, templates)
    groups = [
        group
        for one in of_frames or [FrameEvidence(answer, uids, evidence)]
        for group in finding_groups(
            one.answer,
            templates,
            one.uids,
            one.evidence.explained,
            one.evidence.masks,
            one.evidence.notices,
            wording,
            one.evidence.typed,
            one.frames,
        )
    ]
    root = sr.container(
        dcm("126000", "Imaging Measurement Report"),
        [
            sr.code("HAS CONCEPT MOD", _LANGUAGE, wording.language),
            *_observer(answer, templates),
            sr.code("HAS CONCEPT MOD", dcm("121058", "Procedure reported"), templates.concepts.procedure),
            _image_library(answer),
            *([sr.container(dcm("126010", "Imaging Measurements"), groups)] if groups else []),
            sr.container(_QUALITATIVE, _statements(answer, templates, wording)),
        ],
        template="1500",
        root=True,
    )
    made.update(root)
    referenced = _sources(answer)
    for frame_evidence in (evidence, *(one.evidence for one in of_frames)):
        referenced += _results_referenced(frame_evidence)
    made.CurrentRequestedProcedureEvidenceSequence = evidence_items(referenced)
    return made


def _observer(answer: Answer, templates: Templates) -> list[Dataset]:
    """TID 1002 and 1004: the device that observed, which is this installation of WhyRay with its package."""
    equipment = templates.equipment
    return [
        sr.code("HAS OBS CONTEXT", dcm("121005", "Observer Type"), dcm("121007", "Device")),
        sr.uid("HAS OBS CONTEXT", dcm("121012", "Device Observer UID"), answer.device_uid),
        *(
            sr.text("HAS OBS CONTEXT", name, value)
            for name, value in (
                (dcm("121013", "Device Observer Name"), f"{equipment.model} {whyray.__version__}"),
                (dcm("121014", "Device Observer Manufacturer"), equipment.manufacturer),
                (dcm("121015", "Device Observer Model Name"), answer.package.title),
                (dcm("121016", "Device Observer Serial Number"), equipment.serial_number),
            )
        ),
    ]


def _image_library(answer: Answer) -> Dataset:
    """TID 1600: all images that the model saw."""
    entries = [sr.image(SOURCE, header, frames=frames) for header, frames in frames_of_instances(answer.image)]
    group = sr.container(dcm("126200", "Image Library Group"), entries)
    return sr.container(dcm("111028", "Image Library"), [group], template="1600")


def _statements(answer: Answer, templates: Templates, wording: Wording) -> list[Dataset]:
    package, title = answer.package, wording.package_titles.get(answer.package.name, answer.package.title)
    statements = [
        wording.not_for_diagnosis,
        wording.package.format(title=title, name=package.name, version=package.version, digest=package.digest),
    ]
    if answer.version_replaced is not None:
        statements.append(wording.revision.format(number=answer.version))
    statements = [*no_statement_words(answer, wording), *statements]
    if answer.frames_explained is not None:
        statements.append(frames_explained_words(answer.frames_explained, wording))
    notes = note_items(answer.image.notes, wording.notes, templates.equipment.coding_scheme.designator)
    return [*(sr.text("CONTAINS", _COMMENT, statement) for statement in statements), *notes]


def _predecessors(answer: Answer, earlier: Sequence[EarlierResult]) -> list[Dataset]:
    """Predecessor Documents Sequence (0040,A360), PS3.3 section C.17.2: the reports that this one replaces.

    Of the other results none: Key Object Selections, whose SOP Class UID begins as those of reports, have no content
    that a report goes on with.
    """
    source = answer.image.header
    headers = []
    for result in earlier:
        if result.sop_class_uid == SOP_CLASS_UID and result.sop_instance_uid in answer.supersedes:
            header = Dataset()
            header.StudyInstanceUID = source.StudyInstanceUID
            header.SeriesInstanceUID = result.series_instance_uid
            header.SOPClassUID = result.sop_class_uid
            header.SOPInstanceUID = result.sop_instance_uid
            headers.append(header)
    return list(evidence_items(headers))


def _sources(answer: Answer) -> list[Dataset]:
    return [answer.image.headers[uid] for uid in dict.fromkeys(frame.sop_instance_uid for frame in answer.image.frames)]


def _results_referenced(evidence: Evidence) -> list[Dataset]:
    results = [dataset for explained in evidence.explained.values() for one in explained for dataset in one.objects()]
    results += [dataset for typed in evidence.typed.values() for one in typed for dataset in one.objects()]
    results += [dataset for dataset, _ in evidence.masks.values()]
    results += list(evidence.notices.values())
    return results


def _add_coding_scheme(made: Dataset, templates: Templates) -> None:
    scheme = templates.equipment.coding_scheme
    one = Dataset()
    one.CodingSchemeDesignator = scheme.designator
    one.CodingSchemeName = scheme.name
    one.CodingSchemeResponsibleOrganization = scheme.organisation
    made.CodingSchemeIdentificationSequence = [one]


__all__ = ["EarlierResult", "Evidence", "FrameEvidence", "report"]
