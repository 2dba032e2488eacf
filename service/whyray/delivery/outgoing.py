"""One file on its way to a peer, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.filereader import read_file_meta_info

from whyray.base.errors import DecodeError, PeerUnreachable, WhyRayError
from whyray.base.failures import place_of, raise_unreadable, typed_error
from whyray.base.shown import shown_path


@dataclass(frozen=True)
class Outgoing:
    """A DICOM file (PS3.10) to send; `ticket` is the sender's own name for it, such as a delivery's id."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    ticket: str = ""


@dataclass(frozen=True)
class Outcome:
    """What the peer said of one file.

    Attributes
    ----------
    status
        The peer's own: a DICOM status, or for STOW-RS an HTTP status or the failure or warning reason; None where it
        gave none.
    words
        The status for people.
    error
        None if the object is stored.
    transfer_syntax_uid
        In which the object went; None where it was not stored.
    """

    file: Outgoing
    status: int | None
    words: str
    error: WhyRayError | None
    transfer_syntax_uid: str | None = None

    @property
    def stored(self) -> bool:
        """Whether the peer has it."""
        return self.error is None

    @property
    def broke(self) -> bool:
        """Whether the association ended with this file."""
        return isinstance(self.error, PeerUnreachable)


Report = Callable[[Outcome], None]
"""Told of each outcome as soon as the peer has given it."""


def read_outgoing(path: Path, ticket: str = "") -> Outgoing:
    """What the file's meta information says of it.

    Raises
    ------
    DecodeError
        If the file can't be read, or is not a DICOM file with its meta information.
    """
    try:
        meta = read_file_meta_info(path)
        return Outgoing(
            path,
            str(meta.MediaStorageSOPClassUID),
            str(meta.MediaStorageSOPInstanceUID),
            str(meta.TransferSyntaxUID),
            ticket,
        )
    except OSError as error:
        raise_unreadable(error, shown_path(path.name))
        raise DecodeError(
            f"{shown_path(path.name)} can't be read: {error.strerror or type(error).__name__}",
            advice="Check that the file is there, and that it may be read.",
            in_service="Repeat the job that made it.",
        ) from error
    except Exception as error:  # pydicom raises what it likes on nonsense; its text may quote the file
        raise DecodeError(
            f"{shown_path(path.name)} is no DICOM file with meta information ({type(error).__name__})",
            advice="Send DICOM files (PS3.10) only.",
            in_service="Repeat the job that made it.",
        ) from error


def unencodable(error: Exception, file: Outgoing, peer: str) -> WhyRayError:
    """The error of a file that could not be read, converted or compressed for a peer; a shortage may pass."""
    subject = f"{file.sop_instance_uid} for {peer}"
    try:
        raise_unreadable(error, subject)
    except WhyRayError as unreadable:
        return unreadable
    typed = typed_error(error, subject)
    if typed is error or typed.retriable:
        return typed
    return DecodeError(
        f"{file.sop_instance_uid} can't be read or encoded for {peer} ({type(error).__name__} in {place_of(error)})",
        advice="Look at the object in a viewer; it may be damaged.",
        in_service="Repeat the job that made it.",
    )


_IDENTIFYING = ("PatientName", "PatientID", "OtherPatientIDs", "OtherPatientNames", "PatientBirthDate")
_LONGEST_COMMENT = 256


def without_identity(comment: str, path: Path) -> str:
    """A peer's comment on a file, less the patient's name, identifiers and birth date that the file holds.

    Comments are shown and kept; some archives quote the patient in them ("ID conflict with Doe^Jane").
    """
    if not comment:
        return ""
    patient = dcmread(path, stop_before_pixels=True, specific_tags=list(_IDENTIFYING))
    texts = (str(value) for keyword in _IDENTIFYING for value in _values(patient.get(keyword)))
    parts = {part for text in texts for part in (text, *text.replace("=", "^").split("^")) if len(part) > 1}
    for part in sorted(parts, key=len, reverse=True):
        start = comment.casefold().find(part.casefold())
        while start >= 0:
            comment = f"{comment[:start]}[removed]{comment[start + len(part) :]}"
            start = comment.casefold().find(part.casefold(), start + len("[removed]"))
    return comment[:_LONGEST_COMMENT]


def _values(value: object) -> list[object]:
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
