"""What all results share: patient, study, series, equipment and SOP common modules, taken over from the source.

Identity (patient and study) is taken over as it is; optional attributes only where their values are valid; private
attributes never. Attributes of type 2 that the source lacks are present and empty.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import cast

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import validate_value

import whyray
from whyray.config import ResultKind
from whyray.identity import (
    EQUIPMENT_MANUFACTURER,
    EQUIPMENT_MODEL,
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
)
from whyray.results.answer import Answer
from whyray.results.coding import LONGEST_TEXT, dcm, item, one_value
from whyray.results.templates import SeriesTemplate, Templates
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
    "QualityControlSubject",
    "StudyDescription",
    "IssuerOfAccessionNumberSequence",
    "ProcedureCodeSequence",
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
    "TimezoneOffsetFromUTC",
)
_PATIENT_SEXES = ("M", "F", "O", "")


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
    made.Modality = series.modality
    made.SeriesInstanceUID = uids.uid("series", kind, series_key)
    made.SeriesNumber = series.number
    made.SeriesDescription = _series_description(answer, series, method)
    made.InstanceNumber = instance_number
    _add_equipment(made, answer, templates, uids)
    return made


def local_time(answer: Answer) -> datetime:
    """The answer's time in the zone in which the source writes its dates and times, or else in its own zone."""
    offset = str(answer.image.header.get("TimezoneOffsetFromUTC") or "")
    if not re.fullmatch(r"[+-]\d{4}", offset):
        return answer.at
    minutes = int(offset[1:3]) * 60 + int(offset[3:5])
    return answer.at.astimezone(timezone(timedelta(minutes=minutes if offset[0] == "+" else -minutes)))


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
    if str(made.get("BodyPartExamined") or "") not in _UNPAIRED:
        made.Laterality = laterality(source)


def laterality(source: Dataset) -> str:
    """R, L, or empty where the source doesn't say, or shows both sides or an unpaired part."""
    for holder, keyword in (
        (source, "ImageLaterality"),
        (source, "Laterality"),
        (_shared_item(source, "FrameAnatomySequence"), "FrameLaterality"),
    ):
        value = str(holder.get(keyword) or "").strip() if holder is not None else ""
        if value in ("R", "L"):
            return value
    return ""


def add_lossy(made: Dataset, answer: Answer, *, required: bool) -> None:
    """Lossy Image Compression as in the source: what has once been lossy stays marked so."""
    values = [header.get("LossyImageCompression") for header in answer.image.headers.values()]
    lossy = any(value == "01" for value in values)
    if not lossy:
        if required or any(value == "00" for value in values):
            made.LossyImageCompression = "00"
        return
    made.LossyImageCompression = "01"
    header = next(each for each in answer.image.headers.values() if each.get("LossyImageCompression") == "01")
    copy_valid(made, header, "LossyImageCompressionRatio")
    copy_valid(made, header, "LossyImageCompressionMethod")


# Body parts of PS3.16 annex L that are not one of a pair.
_UNPAIRED = frozenset(
    {"ABDOMEN", "ABDOMENPELVIS", "AORTA", "BLADDER", "BRAIN", "CHEST", "CHESTABDOMEN", "CHESTABDPELVIS", "COCCYX"}
    | {"COLON", "CSPINE", "CTSPINE", "DUODENUM", "ESOPHAGUS", "GALLBLADDER", "HEAD", "HEADNECK", "HEART", "JAW"}
    | {"LARYNX", "LIVER", "LSPINE", "LSSPINE", "MEDIASTINUM", "NECK", "NECKCHEST", "NECKCHESTABDOMEN"}
    | {"NECKCHESTABDPELV", "PANCREAS", "PELVIS", "PROSTATE", "RECTUM", "SKULL", "SPINE", "SPLEEN", "SSPINE"}
    | {"STERNUM", "STOMACH", "THYMUS", "THYROID", "TLSPINE", "TRACHEA", "TSPINE", "UTERUS", "WHOLEBODY"}
)
_FACES = re.compile(r"HEAD|FACE|SKULL|BRAIN|NECK|SINUS|ORBIT|JAW|EAR|EYE|NOSE|IAC|MAXILLA|MANDIBLE", re.IGNORECASE)


def recognisable(answer: Answer) -> str:
    """Recognizable Visual Features: the source's own word; else YES for volumes that may hold a face."""
    values = {str(each.get("RecognizableVisualFeatures") or "") for each in answer.image.headers.values()}
    if "YES" in values:
        return "YES"
    if values == {"NO"}:
        return "NO"
    part = str(answer.image.header.get("BodyPartExamined") or "")
    return "YES" if answer.image.kind == "volume" and (not part or _FACES.search(part)) else "NO"


def copy_valid(made: Dataset, source: Dataset, keyword: str) -> None:
    """Copy one attribute without private parts, if its values are valid for its value representation."""
    element = _clean_element(source, keyword)
    if element is not None and not element.is_empty:
        made.add(element)


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
    removed = str(made.get("PatientIdentityRemoved") or "") == "YES"
    if removed and not ("DeidentificationMethod" in made or "DeidentificationMethodCodeSequence" in made):
        made.DeidentificationMethod = "not stated by the source"  # 1C: the source left it out


def identity(source: Dataset, keyword: str) -> str:
    """An identifying attribute as text; dates and times of ACR-NEMA days are written anew, invalid ones left empty."""
    try:
        value = source.get(keyword)
    except Exception:  # any value that pydicom can't read at all
        return ""
    text = "" if value is None else "\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value)
    vr = dictionary_VR(keyword)
    if vr == "DA":
        text = text.replace(".", "")
        return text if re.fullmatch(r"\d{8}", text) else ""
    if vr == "TM":
        text = text.replace(":", "")
        return text if re.fullmatch(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?", text) else ""
    if keyword == "PatientSex":
        return text.strip() if text.strip() in _PATIENT_SEXES else ""
    return text


def _series_description(answer: Answer, series: SeriesTemplate, method: str) -> str:
    package = answer.package
    text = series.description.format(package=package.name, version=package.version, title=package.title, method=method)
    suffix = f" r{answer.revision}" if answer.revision > 1 else ""
    return one_value(text, LONGEST_TEXT - len(suffix)) + suffix


def _add_equipment(made: Dataset, answer: Answer, templates: Templates, uids: UidSource) -> None:
    made.Manufacturer = templates.equipment.manufacturer
    made.ManufacturerModelName = templates.equipment.model
    made.DeviceSerialNumber = templates.equipment.serial_number
    made.SoftwareVersions = whyray.__version__
    source = answer.image.header
    contributing = [_package_equipment(answer, uids), _own_equipment(answer)]
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
    made.ContributingEquipmentSequence = contributing


def _package_equipment(answer: Answer, uids: UidSource) -> Dataset:
    """The model package as an item of Contributing Equipment (IHE AI Results, 'algorithm as equipment')."""
    package = answer.package
    made = Dataset()
    made.PurposeOfReferenceCodeSequence = [item(dcm("109102", "Processing Equipment"))]
    made.Manufacturer = one_value(package.manufacturer)
    made.ManufacturerModelName = one_value(f"{package.title} ({package.name})")
    made.SoftwareVersions = [package.version, package.digest[:LONGEST_TEXT]]
    made.DeviceUID = package_device_uid(package.digest, uids.root)
    made.ContributionDateTime = answer.at.strftime("%Y%m%d%H%M%S%z")
    made.ContributionDescription = "AI model that gave the answers and was explained"
    return made


def _own_equipment(answer: Answer) -> Dataset:
    """WhyRay itself, by the names that the loop guard looks for: a site may rename the equipment, never this."""
    made = Dataset()
    made.PurposeOfReferenceCodeSequence = [item(dcm("109102", "Processing Equipment"))]
    made.Manufacturer = EQUIPMENT_MANUFACTURER
    made.ManufacturerModelName = EQUIPMENT_MODEL
    made.SoftwareVersions = whyray.__version__
    made.ContributionDateTime = answer.at.strftime("%Y%m%d%H%M%S%z")
    made.ContributionDescription = "Explained the answers and made the results"
    return made


def _shared_item(source: Dataset, keyword: str) -> Dataset | None:
    shared = source.get("SharedFunctionalGroupsSequence")
    group = shared[0].get(keyword) if shared else None
    return group[0] if group else None


def _clean_element(source: Dataset, keyword: str) -> DataElement | None:
    tag = tag_for_keyword(keyword)
    if tag is None or tag not in source:
        return None
    try:
        element = source[tag]
    except Exception:  # a value that pydicom can't read at all is no valid value
        return None
    if element.VR == "SQ":
        items = [clean for each in element.value if (clean := _clean_item(each)) is not None]
        return DataElement(tag, "SQ", items) if items else None
    return _plain(element)


def _clean_item(source: Dataset) -> Dataset | None:
    made = Dataset()
    for element in source:
        keyword = element.keyword
        if element.tag.is_private or not keyword:
            continue
        clean = _clean_element(source, keyword)
        if clean is None:
            return None
        made.add(clean)
    return made if len(made) else None


def _plain(element: DataElement) -> DataElement | None:
    """The element with text decoded, so that it is encoded anew in the result's own character set; None if invalid."""
    values = [] if element.is_empty else (element.value if element.VM > 1 else [element.value])
    plain = [str(each) if element.VR in ("PN", "DS", "IS") or isinstance(each, str) else each for each in values]
    for each in plain:
        if isinstance(each, str):
            try:
                # 2: raise; the length limits of some representations count characters, not bytes
                validate_value(element.VR, each, 2)
            except ValueError:
                return None
    return DataElement(element.tag, element.VR, plain[0] if len(plain) == 1 else plain)
