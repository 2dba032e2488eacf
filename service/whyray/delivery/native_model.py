"""Reading data sets in XML: the Native DICOM Model of PS3.19 section A.1, as answers to STOW-RS are written in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.parsers import expat  # nosec B407  # no document type is let in, and with it no entity of the document's own

_DEEPEST = 32
JsonModel = dict[str, dict[str, Any]]
"""A data set in the DICOM JSON Model (PS3.18 annex F): {tag in 8 upper-case hexadecimal digits: {vr, Value}}."""


def from_native_model(document: bytes) -> JsonModel:
    """The data set of an XML document; of values in attributes other than sequences, their texts.

    Raises
    ------
    ValueError
        If it is no XML, has a document type, is nested deeper than any answer, or is no Native DICOM Model.
    """
    reader = _Reader()
    # names come as the document writes them, with whatever prefix it has for its namespace
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_document_type
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(document, True)
    except expat.ExpatError as error:
        raise ValueError(f"no XML (line {error.lineno})") from None
    if reader.root is None:
        raise ValueError("no Native DICOM Model")
    return reader.root


def _refuse_document_type(*_: object) -> None:
    raise ValueError("a document type is not taken")


class _Reader:
    """Takes the elements of a document as they come."""

    def __init__(self) -> None:
        self.root: JsonModel | None = None
        self._items: list[JsonModel] = []
        """The data sets that are open, the innermost last."""
        self._attributes: list[tuple[str, str, list[str], list[JsonModel]]] = []
        """Tag, VR, values and items of the attributes that are open."""
        self._depth = 0
        self._value: list[str] | None = None

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """An element begins."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError("nested too deep")
        local = name.rpartition(":")[2]
        if local == "NativeDicomModel" and self.root is None:
            self.root = {}
            self._items.append(self.root)
        elif local == "DicomAttribute" and self._items:
            self._attributes.append((attributes.get("tag", ""), attributes.get("vr", ""), [], []))
        elif local == "Item" and self._attributes:
            self._items.append({})
        elif local == "Value" and self._attributes:
            self._value = []

    def text(self, characters: str) -> None:
        """More of a value, or of what stands between elements."""
        if self._value is not None:
            self._value.append(characters)

    def end(self, name: str) -> None:
        """An element ends."""
        self._depth -= 1
        local = name.rpartition(":")[2]
        if local == "Value" and self._value is not None:
            self._attributes[-1][2].append("".join(self._value).strip())
            self._value = None
        elif local == "Item" and self._attributes and len(self._items) > 1:
            self._attributes[-1][3].append(self._items.pop())
        elif local == "DicomAttribute" and self._attributes:
            tag, vr, values, items = self._attributes.pop()
            self._items[-1][tag.upper()] = {"vr": vr, "Value": items if vr == "SQ" else values}
