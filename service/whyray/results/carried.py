"""Attributes that results take over from the source: copied where their values are valid, without private parts.

What a value has to be like is PS3.5 section 6.2; of dates and times also that the calendar and the clock know them.
"""

from __future__ import annotations

import re
from datetime import date, timedelta, timezone

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.multival import MultiValue
from pydicom.valuerep import validate_value

_PATIENT_SEXES = ("M", "F", "O", "")
_CODE_SEQUENCES = frozenset({"AnatomicRegionSequence", "AnatomicRegionModifierSequence"})
"""Sequences of coded entries whose keywords don't end in CodeSequence."""
_INSTANCE_SEQUENCES = frozenset({"ReferencedPatientSequence", "ReferencedStudySequence"})
"""Sequences of references to SOP instances (PS3.3 table 10-11)."""
_DEEPEST = 16
"""Levels of sequences that an attribute which is taken over may have; the standard's have three or four."""
_EARLIEST_ZONE, _LATEST_ZONE = timedelta(hours=-12), timedelta(hours=14)
_RAISE = 2
"""How pydicom validates: the length limits of some representations count characters, not bytes."""


def copy_valid(made: Dataset, source: Dataset, keyword: str) -> None:
    """Copy one attribute without private parts, if it has values and all are valid for its value representation."""
    element = valid_element(source, keyword)
    if element is not None and not element.is_empty:
        made.add(element)


def identity(source: Dataset, keyword: str) -> str:
    """An identifying attribute as text; dates and times of ACR-NEMA days are written anew, invalid ones left empty."""
    text = written_text(source, keyword)
    vr = dictionary_VR(keyword)
    if vr == "DA":
        return valid_date(text)
    if vr == "TM":
        return valid_time(text)
    if keyword == "PatientSex":
        return text.strip() if text.strip() in _PATIENT_SEXES else ""
    return text


def written_text(source: Dataset, keyword: str) -> str:
    """What stands in an attribute, as text; empty where it is absent, or no text can be read from it."""
    try:
        value = source.get(keyword)
    except Exception:  # any value that pydicom can't read at all
        return ""
    if value is None or isinstance(value, bytes):
        return ""
    return "\\".join(map(str, value)) if isinstance(value, (MultiValue, list)) else str(value)


def valid_text(source: Dataset, keyword: str) -> str:
    """An attribute with one value as text; empty where it is absent or not valid."""
    element = valid_element(source, keyword)
    return "" if element is None or element.VM != 1 else str(element.value)


def valid_date(text: str) -> str:
    """A date as YYYYMMDD (DA), empty where it is none; ACR-NEMA wrote YYYY.MM.DD."""
    digits = text.strip().replace(".", "")
    return digits if re.fullmatch(r"\d{8}", digits, re.ASCII) and _is_in_calendar(digits) else ""


def valid_time(text: str) -> str:
    """A time as HH[MM[SS[.FFFFFF]]] (TM), empty where it is none; ACR-NEMA wrote HH:MM:SS."""
    digits = text.strip().replace(":", "")
    pattern = r"([01]\d|2[0-3])([0-5]\d(([0-5]\d|60)(\.\d{1,6})?)?)?"
    return digits if re.fullmatch(pattern, digits, re.ASCII) else ""


def zone_of(source: Dataset) -> timezone | None:
    """The zone that Timezone Offset From UTC (0008,0201) names; None where it names none of -1200 to +1400."""
    parts = re.fullmatch(r"([+-])(\d\d)([0-5]\d)", written_text(source, "TimezoneOffsetFromUTC").strip(), re.ASCII)
    if parts is None or parts.group() == "-0000":
        return None
    offset = timedelta(hours=int(parts[2]), minutes=int(parts[3])) * (-1 if parts[1] == "-" else 1)
    return timezone(offset) if _EARLIEST_ZONE <= offset <= _LATEST_ZONE else None


def valid_element(source: Dataset, keyword: str, depth: int = 0) -> DataElement | None:
    """An attribute without private parts; None where it is absent, or any of its values is not valid.

    Of a sequence, invalid items are left out; None where no item is left of some.
    """
    tag = tag_for_keyword(keyword)
    if tag is None or tag not in source or depth > _DEEPEST:
        return None
    try:
        element = source[tag]
    except Exception:  # a value that pydicom can't read at all is no valid value
        return None
    if dictionary_VR(tag) != "SQ":
        return _plain(element)
    if element.VR != "SQ":
        return None
    items = [clean for item in element.value or () if (clean := _clean_item(item, depth)) is not None]
    items = [item for item in items if _is_complete(keyword, item)]
    return DataElement(tag, "SQ", items) if items or element.is_empty else None


def is_coded_entry(item: Dataset) -> bool:
    """Whether an item has what a coded entry needs: a code, its scheme and its meaning (PS3.3 section 8.8)."""
    codes = [keyword for keyword in ("CodeValue", "LongCodeValue", "URNCodeValue") if item.get(keyword)]
    schemed = codes == ["URNCodeValue"] or bool(item.get("CodingSchemeDesignator"))
    return len(codes) == 1 and schemed and bool(item.get("CodeMeaning"))


def _is_complete(keyword: str, item: Dataset) -> bool:
    """Whether an item of this sequence holds what the sequence is for."""
    if keyword.endswith("CodeSequence") or keyword in _CODE_SEQUENCES:
        return is_coded_entry(item)
    if keyword in _INSTANCE_SEQUENCES:
        return bool(item.get("ReferencedSOPClassUID") and item.get("ReferencedSOPInstanceUID"))
    if keyword == "BreedRegistrationSequence":
        return bool(item.get("BreedRegistrationNumber") and item.get("BreedRegistryCodeSequence"))
    return True


def _clean_item(source: Dataset, depth: int) -> Dataset | None:
    made = Dataset()
    for tag in sorted(source.keys()):
        keyword = "" if tag.is_private else keyword_for_tag(tag)
        if not keyword:
            continue
        clean = valid_element(source, keyword, depth + 1)
        if clean is None:
            return None
        made.add(clean)
    return made if len(made) else None


def _plain(element: DataElement) -> DataElement | None:
    """The element with text decoded, so that it is encoded anew in the result's own character set; None if invalid."""
    vr = dictionary_VR(element.tag)
    values = [] if element.is_empty else (element.value if element.VM > 1 else [element.value])
    plain = [str(part) if vr in ("PN", "DS", "IS") or isinstance(part, str) else part for part in values]
    for value in plain:
        if isinstance(value, str):
            try:
                validate_value(vr, value, _RAISE)
            except ValueError:
                return None
            if vr in ("DA", "DT") and value and not _is_in_calendar(value):
                return None
        elif isinstance(value, (bytes, Dataset)):
            return None
    return DataElement(element.tag, vr, plain[0] if len(plain) == 1 else plain)


def _is_in_calendar(text: str) -> bool:
    """Whether the year, month and day that a date or date and time begins with exist, as far as it gives them."""
    digits = re.match(r"\d*", text, re.ASCII)
    parts = digits.group()[:8] if digits else ""
    if len(parts) < 8:
        return True
    try:
        date(int(parts[:4]), int(parts[4:6]), int(parts[6:]))
    except ValueError:
        return False
    return True
