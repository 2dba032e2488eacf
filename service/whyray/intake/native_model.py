"""Data sets as XML: the Native DICOM Model of PS3.19 section A.1, as far as answers to STOW-RS need it."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, tostring  # nosec B405  # XML is written here, none is read

from pydicom import Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.multival import MultiValue


def to_native_model(data: Dataset) -> bytes:
    """The XML document of a data set of UIDs, URLs, numbers, texts and sequences, in UTF-8.

    Raises
    ------
    ValueError
        On a value representation whose XML has another form: names of persons and bulk data.
    """
    root = Element("NativeDicomModel", {"xml:space": "preserve"})
    _attributes(root, data)
    document: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _attributes(parent: Element, data: Dataset) -> None:
    for element in data:
        if element.VR in _OTHER_FORM:
            raise ValueError(f"{element.VR} has another form in the Native DICOM Model")
        attribute = SubElement(parent, "DicomAttribute", {"tag": f"{element.tag:08X}", "vr": str(element.VR)})
        keyword = keyword_for_tag(element.tag)
        if keyword:
            attribute.set("keyword", keyword)
        if element.VR == "SQ":
            for number, item in enumerate(element.value, start=1):
                _attributes(SubElement(attribute, "Item", {"number": str(number)}), item)
        elif not element.is_empty:
            values = element.value if isinstance(element.value, MultiValue) else [element.value]
            for number, value in enumerate(values, start=1):
                SubElement(attribute, "Value", {"number": str(number)}).text = str(value)


_OTHER_FORM = frozenset({"PN", "OB", "OD", "OF", "OL", "OV", "OW", "UN", "AT"})
