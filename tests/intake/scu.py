"""A storage SCU that sends data set bytes as they are, right or wrong, and data sets for it to send."""

from __future__ import annotations

import hashlib
import time
import zlib
from io import BytesIO
from typing import Any

from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, build_context
from pynetdicom.dimse_primitives import C_STORE


class NoAssociationError(Exception):
    """The peer rejected, aborted or is gone."""


class Sender:
    """One association as SCU. `contexts` are (abstract syntax, transfer syntaxes) pairs."""

    def __init__(
        self,
        port: int,
        *,
        called: str = "WHYRAY",
        calling: str = "SENDER",
        contexts: tuple[tuple[str, tuple[str, ...]], ...] = ((CTImageStorage, (ExplicitVRLittleEndian,)),),
        patience: float = 20,
    ) -> None:
        ae = AE(calling)
        ae.requested_contexts = [build_context(abstract, list(syntaxes)) for abstract, syntaxes in contexts]
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = patience
        self.association: Any = ae.associate("127.0.0.1", port, ae_title=called)
        if not self.association.is_established:
            raise NoAssociationError(str(self.association.acceptor.primitive))
        self._messages = 0

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *error: object) -> None:
        self.association.release() if error[0] is None else self.association.abort()

    def accepted(self) -> dict[str, list[str]]:
        """{abstract syntax: accepted transfer syntaxes}."""
        syntaxes: dict[str, list[str]] = {}
        for context in self.association.accepted_contexts:
            syntaxes.setdefault(str(context.abstract_syntax), []).append(str(context.transfer_syntax[0]))
        return syntaxes

    def store(
        self,
        data: bytes,
        sop_instance_uid: str,
        sop_class_uid: str = CTImageStorage,
        *,
        transfer_syntax: str | None = None,
    ) -> Dataset:
        """C-STORE of these bytes; the response's Status and Error Comment."""
        association = self.association
        context = next(
            context
            for context in association.accepted_contexts
            if transfer_syntax in (None, context.transfer_syntax[0]) and sop_class_uid in (context.abstract_syntax, "")
        )
        self._messages += 1
        request = C_STORE()
        request.MessageID, request.Priority = self._messages, 2
        request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = sop_class_uid, sop_instance_uid
        request.DataSet = BytesIO(data) if data else None
        association._reactor_checkpoint.clear()
        while not association._is_paused and association.is_alive():
            time.sleep(0.0001)
        try:
            association.dimse.send_msg(request, context.context_id)
            _, response = association.dimse.get_msg(block=True)
        finally:
            association._reactor_checkpoint.set()
        if response is None:
            raise NoAssociationError("no response")
        status = Dataset()
        status.Status, status.ErrorComment = response.Status, response.ErrorComment or ""
        return status


def encode(data: Dataset, transfer_syntax: str = ExplicitVRLittleEndian) -> bytes:
    """The data set's bytes in an uncompressed or deflated transfer syntax."""
    file = DicomBytesIO()
    file.is_implicit_VR = transfer_syntax == "1.2.840.10008.1.2"
    file.is_little_endian = transfer_syntax != "1.2.840.10008.1.2.2"
    write_dataset(file, data)
    encoded: bytes = file.getvalue()
    if transfer_syntax == "1.2.840.10008.1.2.1.99":
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        encoded = deflater.compress(encoded) + deflater.flush()
        encoded += b"\0" * (len(encoded) % 2)
    return encoded


def small(number: int, *, study: str = "1", pixels: bytes = bytes(512), sop_class: str = CTImageStorage) -> Dataset:
    """A small instance of one series; the same arguments give the same UIDs."""
    data = Dataset()
    data.SOPClassUID = sop_class
    data.SOPInstanceUID = uid(study, number)
    data.Modality = "CT"
    data.PatientName = "Nobody^Known"
    data.StudyInstanceUID, data.SeriesInstanceUID = uid(study), uid(study, "series")
    data.InstanceNumber = number
    data.Rows = data.Columns = 16
    data.BitsAllocated = data.BitsStored = 16
    data.add_new(0x7FE00010, "OW", pixels)
    return data


def uid(*parts: object) -> str:
    """A UID that belongs to these words."""
    return str(generate_uid(entropy_srcs=["intake", *map(str, parts)]))


def digest(data: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(data).hexdigest()
