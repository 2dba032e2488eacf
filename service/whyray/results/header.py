"""What all results share: patient, study, series, equipment and SOP common modules, taken over from the source.

Identity (patient and study) is taken over as it is; optional attributes only where their values are valid; private
attributes never. Attributes of type 2 that the source lacks are present and empty.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import cast

from highdicom import ContributingEquipment
from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

import whyray
from whyray.base.identity import (
    EQUIPMENT_MANUFACTURER,
    EQUIPMENT_MODEL,
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
)
from whyray.config import ResultKind
from whyray.imaging import Note, NoteKind, attribute_name, quiet, written_value
from whyray.results.answer import Answer
from whyray.results.body_parts import is_unpaired
from whyray.results.carried import copy_valid, identity, valid_element, written_text, zone_of
from whyray.results.coding import LONGEST_TEXT, dcm, item, one_value
from whyray.results.elements import SharedElement, shared_items
from whyray.results.remembered import Remembered
from whyray.results.requests import add_referenced_request, add_request_attributes, invalid_request_attributes
from whyray.results.series import series_description, series_number
from whyray.results.species import SPECIES, add_species, has_usable_responsible_person
from whyray.results.template_objects import SeriesTemplate
from whyray.results.templates import Templates
from whyray.results.uids import UidSource, package_device_uid

_TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyID",
)
_OPTIONAL = (
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "TypeOfPatientID",
    "OtherPatientIDsSequence",
    "PatientBirthTime",
    "EthnicGroup",
    "PatientComments",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "ReferencedPatientSequence",
    "QualityControlSubject",
    "StudyDescription",
    "IssuerOfAccessionNumberSequence",
    "ProcedureCodeSequence",
    "ReferencedStudySequence",
    "PhysiciansOfRecord",
    "ReferringPhysicianIdentificationSequence",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "AdmissionID",
    "IssuerOfAdmissionIDSequence",
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
)


_contributing: Remembered[SharedElement] = Remembered(32)


@quiet()
def new_dataset(
    answer: Answer,
    templates: Templates,
    uids: UidSource,
    *,
    kind: ResultKind,
    sop_class_uid: str,
    sop_instance_uid: str,
    instance_number: int = 1,
    series: SeriesTemplate | None = None,
    series_key: str = "",
    method: str = "",
) -> Dataset:
    """A data set with all modules that results share.

    `series` is that of the kind where none is given; `series_key` tells the series of one kind and answer apart.
    """
    if series is None:
        series = cast(SeriesTemplate, getattr(templates.series, kind))
    source = answer.image.header
    made = Dataset()
    _add_file_meta(made, sop_class_uid, sop_instance_uid)
    made.SOPClassUID = sop_class_uid
    made.SOPInstanceUID = sop_instance_uid
    _add_patient_and_study(made, source)
    at = local_time(answer)
    made.InstanceCreationDate, made.InstanceCreationTime = at.strftime("%Y%m%d"), at.strftime("%H%M%S")
    made.InstanceCreatorUID = IMPLEMENTATION_CLASS_UID
    made.ContentDate, made.ContentTime = made.InstanceCreationDate, made.InstanceCreationTime
    made.SeriesDate, made.SeriesTime = made.InstanceCreationDate, made.InstanceCreationTime
    if kind in ("sr", "ko"):
        add_referenced_request(made, source)
    else:
        add_request_attributes(made, source)
    made.Modality = series.modality
    made.SeriesInstanceUID = _series_uid(uids, source, kind, series_key)
    made.SeriesNumber = series_number(templates.series, series, answer.package.name)
    made.SeriesDescription = series_description(answer, series, method)
    made.InstanceNumber = instance_number
    _add_equipment(made, answer, templates, uids)
    return made


def local_time(answer: Answer) -> datetime:
    """The answer's time in the zone in which the source writes its dates and times, or else in its own zone."""
    zone = zone_of(answer.image.header)
    return answer.at if zone is None else answer.at.astimezone(zone)


def add_anatomy(made: Dataset, source: Dataset) -> None:
    """Body part, laterality and anatomic region of an image."""
    add_body_part(made, source)
    copy_valid(made, source, "AnatomicRegionSequence")


def add_body_part(made: Dataset, source: Dataset) -> None:
    """Body part, and laterality (2C of General Series) from wherever the source's object keeps it.

    Laterality is required for paired structures, so it is left out for those known to be unpaired, and empty where
    neither side nor pairing is known.
    """
    copy_valid(made, source, "BodyPartExamined")
    if not is_unpaired(source):
        made.Laterality = laterality(source)


def laterality(source: Dataset) -> str:
    """R, L, or empty where the source doesn't say, contradicts itself, or shows both sides or an unpaired part."""
    sides = set(stated_sides(source).values())
    side = sides.pop() if len(sides) == 1 else ""
    return side if side in _SIDES else ""


def stated_sides(source: Dataset) -> dict[str, str]:
    """What the source says of the side it shows, by the attribute that says it: R, L, B or U.

    Frames that differ show both.
    """
    sides = {keyword: str(source.get(keyword) or "").strip() for keyword in ("ImageLaterality", "Laterality")}
    frames = {str(item.get("FrameLaterality") or "").strip() for item in _frame_items(source, "FrameAnatomySequence")}
    frames &= {*_SIDES, "B", "U"}
    sides["FrameLaterality"] = "B" if len(frames) > 1 else "".join(frames)
    return {keyword: side for keyword, side in sides.items() if side in (*_SIDES, "B", "U")}


def add_lossy(made: Dataset, answer: Answer, *, required: bool) -> None:
    """Lossy Image Compression as in the source: what has once been lossy stays marked so."""
    values = [header.get("LossyImageCompression") for header in answer.image.headers.values()]
    lossy = any(value == "01" for value in values)
    if not lossy:
        if required or any(value == "00" for value in values):
            made.LossyImageCompression = "00"
        return
    made.LossyImageCompression = "01"
    header = next(lossy for lossy in answer.image.headers.values() if lossy.get("LossyImageCompression") == "01")
    copy_valid(made, header, "LossyImageCompressionRatio")
    copy_valid(made, header, "LossyImageCompressionMethod")


_SIDES = ("R", "L")
_FACES = re.compile(r"HEAD|FACE|SKULL|BRAIN|NECK|SINUS|ORBIT|JAW|EAR|EYE|NOSE|IAC|MAXILLA|MANDIBLE", re.IGNORECASE)


def recognisable(answer: Answer) -> str:
    """Recognizable Visual Features: the source's own word; else YES for volumes that may hold a face."""
    values = {str(header.get("RecognizableVisualFeatures") or "") for header in answer.image.headers.values()}
    if "YES" in values:
        return "YES"
    if values == {"NO"}:
        return "NO"
    part = str(answer.image.header.get("BodyPartExamined") or "")
    return "YES" if answer.image.kind == "volume" and (not part or _FACES.search(part)) else "NO"


def _add_file_meta(made: Dataset, sop_class_uid: str, sop_instance_uid: str) -> None:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = sop_class_uid
    meta.MediaStorageSOPInstanceUID = sop_instance_uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    made.file_meta = meta


def _add_patient_and_study(made: Dataset, source: Dataset) -> None:
    made.StudyInstanceUID = source.StudyInstanceUID
    for keyword in _TYPE_2:
        setattr(made, keyword, identity(source, keyword))
    for keyword in _OPTIONAL:
        copy_valid(made, source, keyword)
    add_species(made, source)
    if zone_of(source) is not None:  # else the result's times would be read in a zone that they are not in
        copy_valid(made, source, "TimezoneOffsetFromUTC")
    removed = str(made.get("PatientIdentityRemoved") or "") == "YES"
    if removed and not ("DeidentificationMethod" in made or "DeidentificationMethodCodeSequence" in made):
        made.DeidentificationMethod = "not stated by the source"  # 1C: the source left it out


@quiet()
def invalid_attributes(header: Dataset) -> tuple[Note, ...]:
    """A note for each attribute of a source that its results leave empty or out: as not valid, or as contradicted."""
    empty = [keyword for keyword in _TYPE_2 if _has_value(header, keyword) and not identity(header, keyword).strip()]
    taken_over = (*_OPTIONAL, *SPECIES)
    left_out = [keyword for keyword in taken_over if _has_value(header, keyword) and not _is_whole(header, keyword)]
    left_out += invalid_request_attributes(header)
    if _has_value(header, "ResponsiblePerson") and not has_usable_responsible_person(header):
        left_out.append("ResponsiblePerson")
    if _has_value(header, "TimezoneOffsetFromUTC") and zone_of(header) is None:
        left_out.append("TimezoneOffsetFromUTC")
    notes = [f"{_quoted(header, keyword)} is not valid: empty in the results" for keyword in empty]
    notes += [f"{_quoted(header, keyword)} is not valid: not taken over into the results" for keyword in left_out]
    if "\N{REPLACEMENT CHARACTER}" in written_text(header, "PatientName"):
        notes.append(
            f"{attribute_name('PatientName')} holds what {attribute_name('SpecificCharacterSet')} "
            f"{written_value(header, 'SpecificCharacterSet')} can't: written with replacement characters"
        )
    sides = stated_sides(header)
    values = set(sides.values())
    if len(values) > 1 and values & set(_SIDES):
        said = " and ".join(f"{attribute_name(keyword)} {side}" for keyword, side in sides.items())
        notes.append(f"{said} contradict each other: the results say no side")
    return tuple(Note(NoteKind.ATTRIBUTE_IGNORED, words) for words in notes)


def _has_value(header: Dataset, keyword: str) -> bool:
    value = header.get(keyword)
    return bool(value) if not isinstance(value, str) else bool(value.strip())


def _is_whole(header: Dataset, keyword: str) -> bool:
    element = valid_element(header, keyword)
    return element is not None and (element.VR != "SQ" or len(element.value) == len(header[keyword].value))


def _quoted(header: Dataset, keyword: str) -> str:
    """Name and value; the value only of dates, times and the zone, which say nothing of who the patient is."""
    quotable = dictionary_VR(keyword) in ("DA", "TM") or keyword == "TimezoneOffsetFromUTC"
    return f"{attribute_name(keyword)} {written_value(header, keyword)}" if quotable else attribute_name(keyword)


def _series_uid(uids: UidSource, source: Dataset, kind: ResultKind, key: str) -> str:
    """One series of pages a run; a body part belongs to a series (C.7.3.1), so pages about another have another.

    Segments and maps are in one frame of reference a series, which other images of the study may not share.
    """
    if kind != "sc" or uids.run is None:
        return uids.uid("series", kind, key)
    part = str(source.get("BodyPartExamined") or "")
    return replace(uids, seed=uids.run).uid("series", kind, part)


def _add_equipment(made: Dataset, answer: Answer, templates: Templates, uids: UidSource) -> None:
    made.Manufacturer = templates.equipment.manufacturer
    made.ManufacturerModelName = templates.equipment.model
    made.DeviceSerialNumber = templates.equipment.serial_number
    made.SoftwareVersions = whyray.__version__
    made.add(_contributing.of((answer,), uids.root, lambda: _contributing_equipment(answer, uids)))


def _contributing_equipment(answer: Answer, uids: UidSource) -> SharedElement:
    """Contributing Equipment Sequence (0018,A001), the same in all results of an answer."""
    source = answer.image.header
    contributing: list[Dataset] = [_package_equipment(answer, uids), _own_equipment(answer)]
    if str(source.get("Manufacturer") or "").strip():
        acquisition = Dataset()
        acquisition.PurposeOfReferenceCodeSequence = [item(dcm("109101", "Acquisition Equipment"))]
        for keyword in (
            "Manufacturer",
            "InstitutionName",
            "StationName",
            "ManufacturerModelName",
            "DeviceSerialNumber",
            "SoftwareVersions",
        ):
            copy_valid(acquisition, source, keyword)
        if "Manufacturer" in acquisition:
            contributing.append(acquisition)
    return shared_items("ContributingEquipmentSequence", contributing)


def _package_equipment(answer: Answer, uids: UidSource) -> ContributingEquipment:
    """The model package as an item of Contributing Equipment (IHE AI Results, 'algorithm as equipment')."""
    package = answer.package
    made = _processing_equipment(
        answer,
        manufacturer=one_value(package.manufacturer),
        manufacturer_model_name=one_value(f"{package.title} ({package.name})"),
        software_versions=[package.version, package.digest[:LONGEST_TEXT]],
        contribution_description="AI model that gave the answers and was explained",
    )
    made.DeviceUID = package_device_uid(package.digest, uids.root)  # highdicom 0.28.2 has no parameter for it
    return made


def _own_equipment(answer: Answer) -> ContributingEquipment:
    """WhyRay itself, by the names that the loop guard looks for: a site may rename the equipment, never this."""
    return _processing_equipment(
        answer,
        manufacturer=EQUIPMENT_MANUFACTURER,
        manufacturer_model_name=EQUIPMENT_MODEL,
        software_versions=whyray.__version__,
        contribution_description="Explained the answers and made the results",
    )


def _processing_equipment(answer: Answer, **attributes: str | list[str]) -> ContributingEquipment:
    made = ContributingEquipment(purpose_of_reference=item(dcm("109102", "Processing Equipment")), **attributes)
    made.ContributionDateTime = answer.at.strftime("%Y%m%d%H%M%S%z")
    return made


def _frame_items(source: Dataset, keyword: str) -> list[Dataset]:
    """First items of a functional group, shared and of each frame that has its own."""
    groups = [
        *(source.get("SharedFunctionalGroupsSequence") or []),
        *(source.get("PerFrameFunctionalGroupsSequence") or []),
    ]
    return [items[0] for group in groups if (items := group.get(keyword))]
