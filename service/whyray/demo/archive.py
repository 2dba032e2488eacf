"""A small embedded PACS: verification, storage, query, retrieval and storage commitment, on files in a folder.

What comes from elsewhere than WhyRay is routed to WhyRay when the association that brought it ends, as a PACS does.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import AllTransferSyntaxes, UncompressedTransferSyntaxes
from pynetdicom import AE, AllStoragePresentationContexts, build_role, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (
    PatientRootQueryRetrieveInformationModelFind,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from whyray.base.errors import PeerUnreachable, WhyRayError
from whyray.config import DicomDestination
from whyray.delivery import Caller, echo, send_files
from whyray.demo.modality import Modality, all_stored

_log = logging.getLogger("whyray.demo")

_NO_SUCH_OBJECT = 0x0112
_CANNOT_STORE = 0xA700
_CANNOT_UNDERSTAND = 0xC000
_BAD_IDENTIFIER = 0xA900
_PENDING = 0xFF00

_KEYS = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
_HEADER = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID", "PatientName", "StudyDate",
    "StudyTime", "AccessionNumber", "StudyID", "StudyDescription", "Modality", "SeriesNumber", "SeriesDescription",
    "InstanceNumber", "NumberOfFrames", "SpecificCharacterSet",
]  # fmt: skip


@dataclass(frozen=True)
class Held:
    """One instance in the archive; `header` has what queries can ask for."""

    path: Path
    header: Dataset
    calling_ae: str

    def uid(self, keyword: str) -> str:
        """One of its UIDs."""
        return str(self.header.get(keyword, ""))


class ArchivePacs:
    """The embedded PACS.

    Parameters
    ----------
    folder
        Where it keeps files: `folder/AE that sent it/SOP Instance UID.dcm`. What lies there is known after `start`.
    whyray
        Where it routes to, and whom it reports commitments to; None for an archive that routes nothing.
    """

    name = "embedded archive"
    web_url: str | None = None

    def __init__(
        self, folder: Path, *, dicom_port: int, whyray: Modality | None = None, ae_title: str = "DEMO_PACS"
    ) -> None:
        self.folder, self.ae_title, self.whyray = folder, ae_title, whyray
        self.host, self.dicom_port = "127.0.0.1", dicom_port
        self._held: dict[str, Held] = {}
        self._lock = threading.Lock()
        self._fresh: dict[Any, list[Path]] = {}
        self._work: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._server: Any = None
        self._worker: threading.Thread | None = None

    def start(self) -> None:
        """Start listening; see `DemoPacs.start`."""
        self._read_folder()
        ae = AE(self.ae_title)
        ae.maximum_pdu_size = 128 * 1024
        ae.add_supported_context(Verification)
        for AllStoragePresentationContext in AllStoragePresentationContexts:
            ae.add_supported_context(AllStoragePresentationContext.abstract_syntax, AllTransferSyntaxes)
        for sop_class in (
            PatientRootQueryRetrieveInformationModelFind,
            StudyRootQueryRetrieveInformationModelFind,
            StudyRootQueryRetrieveInformationModelMove,
            StorageCommitmentPushModel,
        ):
            ae.add_supported_context(sop_class, UncompressedTransferSyntaxes)
        handlers = [
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_C_FIND, self._on_find),
            (evt.EVT_C_MOVE, self._on_move),
            (evt.EVT_N_ACTION, self._on_commitment),
            (evt.EVT_CONN_CLOSE, self._on_close),
        ]
        try:
            self._server = ae.start_server((self.host, self.dicom_port), block=False, evt_handlers=handlers)
        except OSError as error:
            raise PeerUnreachable(
                f"{self.ae_title} can't listen on port {self.dicom_port}: {error.strerror}"
            ) from error
        self._worker = threading.Thread(target=self._run, name="demo-pacs", daemon=True)
        self._worker.start()
        echo(self._me(), Caller("DEMO"))

    def stop(self) -> None:
        """Stop listening, and finish what was begun to route."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
        worker, self._worker = self._worker, None
        if worker is not None:
            self._work.put(None)
            worker.join()

    def store(self, paths: Sequence[Path]) -> None:
        """Send as a modality does; see `DemoPacs.store`."""
        all_stored(send_files(paths, self._me(), caller=Caller("MODALITY")))

    def results(self, study_instance_uid: str) -> list[Path]:
        """What WhyRay sent of a study; see `DemoPacs.results`."""
        title = self.whyray.ae_title if self.whyray is not None else ""
        held = self.find(StudyInstanceUID=study_instance_uid)
        return [instance.path for instance in held if instance.calling_ae == title]

    def studies(self) -> dict[str, int]:
        """See `DemoPacs.studies`."""
        counts: dict[str, int] = {}
        for instance in self.find():
            uid = instance.uid("StudyInstanceUID")
            counts[uid] = counts.get(uid, 0) + 1
        return counts

    def find(self, **uids: str) -> list[Held]:
        """The instances with these UIDs (`StudyInstanceUID=…`), in the order of their SOP Instance UIDs."""
        with self._lock:
            everything = [self._held[uid] for uid in sorted(self._held)]
        return [instance for instance in everything if all(instance.uid(key) == value for key, value in uids.items())]

    def forward(self, study_instance_uid: str) -> None:
        """Send what a study had from elsewhere to WhyRay by C-STORE.

        Raises
        ------
        WhyRayError
            If one instance is not taken.
        """
        if self.whyray is not None:
            held = self.find(StudyInstanceUID=study_instance_uid)
            self._send([instance.path for instance in held if instance.calling_ae != self.whyray.ae_title])

    # --- services, each on an association's own thread -------------------------------------------------------------
    def _on_store(self, event: evt.Event) -> int:
        request = event.request
        uid, caller = str(request.AffectedSOPInstanceUID), str(event.assoc.requestor.ae_title).strip()
        path = self.folder / _safe(caller) / f"{_safe(uid)}.dcm"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(event.encoded_dataset())
            self._enter(path, caller)
        except OSError:
            _log.exception("%s could not keep %s", self.ae_title, uid)
            return _CANNOT_STORE
        except (InvalidDicomError, AttributeError, ValueError):
            path.unlink(missing_ok=True)
            return _CANNOT_UNDERSTAND
        with self._lock:
            self._fresh.setdefault(event.assoc, []).append(path)
        return 0x0000

    def _on_close(self, event: evt.Event) -> None:
        with self._lock:
            paths = self._fresh.pop(event.assoc, [])
        caller = str(event.assoc.requestor.ae_title or "").strip()
        if paths and self.whyray is not None and caller != self.whyray.ae_title:
            self._work.put(lambda: self._send(paths))

    def _on_find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        wanted = event.identifier
        level = str(wanted.get("QueryRetrieveLevel", ""))
        if level not in _KEYS:
            yield _BAD_IDENTIFIER, None
            return
        groups: dict[str, list[Held]] = {}
        for instance in self.find():
            if _matches(instance.header, wanted):
                groups.setdefault(instance.uid(_KEYS[level]), []).append(instance)
        for members in groups.values():
            if event.is_cancelled:
                yield 0xFE00, None
                return
            yield _PENDING, self._answer(wanted, level, members)

    def _answer(self, wanted: Dataset, level: str, members: list[Held]) -> Dataset:
        first, answer = members[0].header, Dataset()
        study = self.find(StudyInstanceUID=members[0].uid("StudyInstanceUID"))
        series = [
            instance for instance in study if instance.uid("SeriesInstanceUID") == members[0].uid("SeriesInstanceUID")
        ]
        counted = {
            "NumberOfStudyRelatedInstances": len(study),
            "NumberOfStudyRelatedSeries": len({instance.uid("SeriesInstanceUID") for instance in study}),
            "NumberOfSeriesRelatedInstances": len(series),
            "ModalitiesInStudy": sorted({str(instance.header.get("Modality", "")) for instance in study} - {""}),
        }
        for element in wanted:
            if element.keyword in counted:
                setattr(answer, element.keyword, counted[element.keyword])
            elif element.keyword in first:
                answer[element.tag] = first[element.tag]
            elif element.VR != "SQ":
                answer.add_new(element.tag, element.VR, None)
        answer.QueryRetrieveLevel, answer.RetrieveAETitle = level, self.ae_title
        if "SpecificCharacterSet" in first:
            answer.SpecificCharacterSet = first.SpecificCharacterSet
        return answer

    def _on_move(self, event: evt.Event) -> Iterator[Any]:
        known = self.whyray
        if known is None or str(event.move_destination).strip() != known.ae_title:
            yield None, None
            return
        matches = [instance for instance in self.find() if _matches(instance.header, event.identifier)]
        contexts = [
            (instance.header.SOPClassUID, dcmread(instance.path, stop_before_pixels=True)) for instance in matches
        ]
        proposals = {(str(uid), str(data.file_meta.TransferSyntaxUID)) for uid, data in contexts}
        yield known.host, known.port, {"contexts": [_context(*proposal) for proposal in sorted(proposals)[:128]]}
        yield len(matches)
        for instance in matches:
            yield _PENDING, dcmread(instance.path)

    def _on_commitment(self, event: evt.Event) -> tuple[int, None]:
        request, caller = event.action_information, str(event.assoc.requestor.ae_title).strip()
        answer = Dataset()
        answer.TransactionUID = request.TransactionUID
        kept: list[Dataset] = []
        missing: list[Dataset] = []
        for item in request.ReferencedSOPSequence:
            held = self.find(SOPInstanceUID=str(item.ReferencedSOPInstanceUID))
            (kept if held else missing).append(item)
        for item in missing:
            item.FailureReason = _NO_SUCH_OBJECT
        if kept:
            answer.ReferencedSOPSequence = kept
        if missing:
            answer.FailedSOPSequence = missing
        known = self.whyray
        if known is None or caller != known.ae_title:
            return 0x0124, None
        self._work.put(lambda: self._report(known, answer, 2 if missing else 1))
        return 0x0000, None

    # --- work of its own --------------------------------------------------------------------------------------------
    def _run(self) -> None:
        while (job := self._work.get()) is not None:
            try:
                job()
            except WhyRayError as error:
                _log.error("%s: %s", self.ae_title, error.message)

    def _send(self, paths: Sequence[Path]) -> None:
        if self.whyray is not None:
            whyray = DicomDestination(ae_title=self.whyray.ae_title, host=self.whyray.host, port=self.whyray.port)
            all_stored(send_files(paths, whyray, caller=Caller(self.ae_title)))

    def _report(self, to: Modality, answer: Dataset, kind: int) -> None:
        ae = AE(self.ae_title)
        ae.add_requested_context(StorageCommitmentPushModel)
        role = build_role(StorageCommitmentPushModel, scu_role=False, scp_role=True)
        link = ae.associate(to.host, to.port, ae_title=to.ae_title, ext_neg=[role])
        if not link.is_established:
            raise PeerUnreachable(f"{to.ae_title} took no report of storage commitment")
        link.send_n_event_report(answer, kind, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
        link.release()

    def _me(self) -> DicomDestination:
        return DicomDestination(ae_title=self.ae_title, host=self.host, port=self.dicom_port)

    def _read_folder(self) -> None:
        for path in sorted(self.folder.glob("*/*.dcm")):
            try:
                self._enter(path, path.parent.name)
            except (InvalidDicomError, AttributeError):
                _log.warning("%s leaves out %s, which is no DICOM file", self.ae_title, path.name)

    def _enter(self, path: Path, caller: str) -> None:
        header = dcmread(path, specific_tags=_HEADER, stop_before_pixels=True)
        held = Held(path, header, caller)
        with self._lock:
            self._held[str(header.SOPInstanceUID)] = held


def _context(sop_class_uid: str, transfer_syntax_uid: str) -> Any:
    return build_context(sop_class_uid, [transfer_syntax_uid])


def _matches(header: Dataset, wanted: Dataset) -> bool:
    """Single value, list of UID and wildcard matching (PS3.4 section C.2.2.2) of the keys that the archive knows."""
    for element in wanted:
        if element.keyword not in _HEADER or element.VR == "SQ" or element.keyword == "SpecificCharacterSet":
            continue
        values = element.value if element.VM > 1 else [element.value]
        texts = [str(value) for value in values if value not in (None, "")]
        if texts and not any(_like(str(header.get(element.keyword, "")), text) for text in texts):
            return False
    return True


def _like(value: str, pattern: str) -> bool:
    if "*" not in pattern and "?" not in pattern:
        return value == pattern
    return fnmatchcase(value.casefold(), pattern.casefold().replace("[", "[[]"))


def _safe(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name) or "_"
