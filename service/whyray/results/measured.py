"""What the value of a finding is and in which unit: the model's own words, or volume and area for segments."""

from __future__ import annotations

from whyray.base.coded_concept import CodedConcept
from whyray.imaging import spacing_plane
from whyray.results.answer import Answer, Finding
from whyray.results.coding import NO_UNITS, ucum
from whyray.results.template_objects import Concepts
from whyray.results.wording import Wording


def value_concept(answer: Answer, finding: Finding, concepts: Concepts) -> CodedConcept:
    """What `finding.value` measures."""
    if _is_segment(answer, finding):
        return concepts.volume if answer.image.kind == "volume" else concepts.area
    return finding.target.code or concepts.value


def value_unit(answer: Answer, finding: Finding) -> CodedConcept:
    """The unit of `finding.value`."""
    if finding.target.unit is not None:
        return finding.target.unit
    if _is_segment(answer, finding):
        return ucum("ml", "milliliter") if answer.image.kind == "volume" else ucum("mm2", "square millimeter")
    return NO_UNITS


def area_caveat(answer: Answer, finding: Finding, wording: Wording) -> str:
    """In which plane the area of a segment on a projection was measured, unless in the patient; else empty."""
    frame = answer.image.frames[0]
    if answer.image.kind == "volume" or finding.target.unit is not None or not _is_segment(answer, finding):
        return ""
    plane = spacing_plane(answer.image.headers[frame.sop_instance_uid], frame.frame_number)
    return {"detector": wording.area_at_detector, "estimated": wording.area_estimated}.get(plane, "")


def _is_segment(answer: Answer, finding: Finding) -> bool:
    return answer.package.task == "segmentation" or finding.mask is not None
