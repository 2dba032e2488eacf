"""The DICOM file around a data set that came over the network: PS3.10 section 7.1, table 7.1-1.

The data set's own bytes are never touched; preamble and File Meta Information go before them. pydicom's `dcmwrite` and
pynetdicom's `create_file_meta` are not used: the one would decode the data set and encode it anew, the other warns of
an odd UID in its own words, with the UID, on the process's standard error.
"""

from __future__ import annotations

from pydicom.config import IGNORE
from pydicom.dataelem import DataElement
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID_dictionary

from whyray.base.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

_WITHOUT_PIXELS_OR_NOT_A_STREAM = {
    "1.2.840.10008.1.2.4.94",  # JPIP Referenced: the pixels stay elsewhere
    "1.2.840.10008.1.2.4.95",
    "1.2.840.10008.1.2.6.1",  # RFC 2557 MIME, XML, Papyrus: no data set encoded after PS3.5
    "1.2.840.10008.1.2.6.2",
    "1.2.840.10008.1.20",
}
TRANSFER_SYNTAXES = frozenset(uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax").difference(
    _WITHOUT_PIXELS_OR_NOT_A_STREAM
)
"""All transfer syntaxes of PS3.6 table A-1 whose objects can be kept whole, retired ones included."""


def file_header(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, calling_ae: str) -> bytes:
    """Preamble, prefix and File Meta Information, to be followed by the data set.

    What a peer sent goes in as it came, a UID that is none too: whether it is taken is decided once the data set is
    there. So nothing is validated here, and nothing raises; characters beyond ASCII become question marks.
    """
    meta = FileMetaDataset()
    for tag, vr, value in (
        (0x00020000, "UL", 0),  # the length, which pydicom counts
        (0x00020001, "OB", b"\x00\x01"),
        (0x00020002, "UI", sop_class_uid),
        (0x00020003, "UI", sop_instance_uid),
        (0x00020010, "UI", transfer_syntax_uid),
        (0x00020012, "UI", IMPLEMENTATION_CLASS_UID),
        (0x00020013, "SH", IMPLEMENTATION_VERSION_NAME),
        (0x00020016, "AE", calling_ae),
    ):
        written = value.encode("ascii", "replace").decode() if isinstance(value, str) else value
        meta.add(DataElement(tag, vr, written, validation_mode=IGNORE))
    file = DicomBytesIO()
    write_file_meta_info(file, meta, enforce_standard=False)
    return bytes(128) + b"DICM" + bytes(file.getvalue())
