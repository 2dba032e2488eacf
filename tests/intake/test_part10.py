"""The File Meta Information before a data set that came over the network, as another reader reads it."""

from __future__ import annotations

import warnings
from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from whyray.base.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from whyray.intake.part10 import file_header


def test_the_header_of_a_file_is_what_table_7_1_1_of_part_10_asks_for() -> None:
    """The bytes, counted by hand for the shortest values that there are."""
    header = file_header("1.2", "1.3", "1.4", "A")
    assert header[:132] == bytes(128) + b"DICM"
    own = IMPLEMENTATION_CLASS_UID.encode() + b"\0" * (len(IMPLEMENTATION_CLASS_UID) % 2)
    name = IMPLEMENTATION_VERSION_NAME.encode() + b" " * (len(IMPLEMENTATION_VERSION_NAME) % 2)
    rest = (
        b"\x02\0\x01\0OB\0\0\x02\0\0\0\0\x01"
        b"\x02\0\x02\0UI\x04\x001.2\0"
        b"\x02\0\x03\0UI\x04\x001.3\0"
        b"\x02\0\x10\0UI\x04\x001.4\0"
        b"\x02\0\x12\0UI"
        + bytes([len(own), 0])
        + own
        + b"\x02\0\x13\0SH"
        + bytes([len(name), 0])
        + name
        + b"\x02\0\x16"
        b"\0AE\x02\0A "
    )
    assert header[132:] == b"\x02\0\0\0UL\x04\0" + len(rest).to_bytes(4, "little") + rest


@pytest.mark.parametrize("odd", ["", "1.2.03", "9" * 70, "1.2\\3", "not a UID", "1.2.é"])
def test_what_a_peer_calls_an_instance_is_written_as_it_is_without_a_warning_or_an_error(odd: str) -> None:
    """A warning would name the UID in the process's log; an error would lose what was to be refused with words."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        header = file_header(CTImageStorage, odd, ExplicitVRLittleEndian, odd)
    assert odd.encode("ascii", "replace") in header
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        meta = dcmread(BytesIO(header)).file_meta
    assert meta.MediaStorageSOPClassUID == CTImageStorage
    assert meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert meta.FileMetaInformationGroupLength == len(header) - 144
