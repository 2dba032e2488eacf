"""Storage commitment as its provider: PS3.4 annex J. A peer asks whether its instances are safe here, and is told."""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydicom import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from whyray.base.errors import ConfigError
from whyray.base.failures import logged
from whyray.catalog import Catalog, events, studies
from whyray.intake.admission import UNCOMPRESSED


class ReportAddress(NamedTuple):
    """Where an AE takes reports; `tls` gives the context of a TLS connection there, None where it takes them plain."""

    host: str
    port: int
    tls: Callable[[], ssl.SSLContext] | None = None


ReportTo = Callable[[str], ReportAddress | tuple[str, int] | None]
"""AE title of who asked → where it listens for the report; None where that is not known."""

_REQUEST_COMMITMENT = 1
_ALL_SAFE, _SOME_NOT = 1, 2
_NO_SUCH_INSTANCE = 0x0112
_SUCCESS, _INVALID_ARGUMENT, _NO_SUCH_ACTION, _FAILURE = 0x0000, 0x0115, 0x0123, 0x0110
_ANSWERED_WITHIN = 10.0
_TIME_TO_RELEASE = 1.0
_log = logging.getLogger("whyray.intake")

Reference = tuple[str, str]


@dataclass
class CommitmentProvider:
    """Answers requests from the catalog: on a new association if the peer's port is known, else on the peer's own.

    A report that can't be delivered after the waits in `patience` is an event; the peer asks again.
    """

    catalog: Catalog
    report_to: ReportTo
    our_title: Callable[[], str]
    patience: Sequence[float] = (0.0, 2.0, 10.0)
    _reports: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, "whyray-commitment"))
    _closing: threading.Event = field(default_factory=threading.Event)

    def on_action(self, event: Any) -> tuple[int, None]:
        """N-ACTION: the request. Success says that a report will come."""
        if event.action_type != _REQUEST_COMMITMENT:
            return _NO_SUCH_ACTION, None
        try:
            request = event.action_information
            transaction = str(request.TransactionUID)
            wanted = [
                (str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID))
                for item in request.ReferencedSOPSequence
            ]
        except Exception as error:  # what a peer sent may be anything
            _log.warning("a storage commitment request can't be read: %s", type(error).__name__)
            return _INVALID_ARGUMENT, None
        try:
            report = self.report(transaction, wanted)
        except Exception as error:  # the peer is answered and may ask again, whatever it was
            logged(_log, error, f"storage commitment {transaction}")
            return _FAILURE, None
        answered = threading.Event()
        event.assoc.bind(evt.EVT_PDU_SENT, _on_sent, [answered])
        self._reports.submit(self._send, event.assoc, report, answered)
        return _SUCCESS, None

    def report(self, transaction: str, wanted: Sequence[Reference]) -> Dataset:
        """The event information of PS3.4 table J.3-2: what of `wanted` the catalog holds, and what not."""
        with self.catalog.read() as session:
            held = [studies.holds(session, instance, sop_class) for sop_class, instance in wanted]
        report = Dataset()
        report.TransactionUID = transaction
        safe = [_item(reference) for reference, safely in zip(wanted, held, strict=True) if safely]
        missing = [
            _item(reference, _NO_SUCH_INSTANCE) for reference, safely in zip(wanted, held, strict=True) if not safely
        ]
        if safe:
            report.ReferencedSOPSequence = safe
        if missing:
            report.FailedSOPSequence = missing
        return report

    def close(self) -> None:
        """Stop reporting; what was not reported will be asked for again."""
        self._closing.set()
        self._reports.shutdown(cancel_futures=True)

    def _send(self, asked_on: Any, report: Dataset, answered: threading.Event) -> None:
        peer = str(asked_on.requestor.ae_title).strip()
        try:
            answered.wait(_ANSWERED_WITHIN)  # the answer to the request goes first
            where = self.report_to(peer)
            for wait in self.patience:
                if self._closing.wait(wait):
                    return
                if where is not None and self._on_new_association(peer, where, report):
                    return
                # A peer that expects no report here is about to release, and must not wait for us to notice.
                if not self._closing.wait(_TIME_TO_RELEASE) and _notify(asked_on, report):
                    return
            self._undelivered(peer, report)
        except Exception as error:  # on a thread of its own, where nobody else would hear of it
            logged(_log, error, f"the storage commitment report to {peer}")

    def _on_new_association(self, peer: str, at: ReportAddress | tuple[str, int], report: Dataset) -> bool:
        where = ReportAddress(*at)
        ae = AE(ae_title=self.our_title())
        ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 30
        ae.add_requested_context(StorageCommitmentPushModel, list(UNCOMPRESSED))
        role = build_role(StorageCommitmentPushModel, scp_role=True)
        try:
            tls = None if where.tls is None else (where.tls(), where.host)
            association = ae.associate(where.host, where.port, ae_title=peer, ext_neg=[role], tls_args=tls)
        except OSError:  # no such host
            return False
        except ConfigError as error:
            _log.error("a report of storage commitment to %s can't go by TLS: %s", peer, error.message)
            return False
        try:
            return _notify(association, report)
        finally:
            if association.is_established:
                association.release()

    def _undelivered(self, peer: str, report: Dataset) -> None:
        message = f"the storage commitment report {report.TransactionUID} could not be delivered to {peer}"
        with self.catalog.begin() as session:
            events.record(session, self.catalog.clock(), "warning", "intake.commitment-undelivered", message)


def _notify(association: Any, report: Dataset) -> bool:
    if not association.is_established:
        return False
    kind = _SOME_NOT if "FailedSOPSequence" in report else _ALL_SAFE
    try:
        status, _ = association.send_n_event_report(
            report, kind, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
    except (ValueError, RuntimeError):  # no context for it, or the peer has just gone
        return False
    return bool("Status" in status and status.Status == _SUCCESS)


def _on_sent(event: Any, answered: threading.Event) -> None:
    if isinstance(event.pdu, P_DATA_TF):
        answered.set()


def _item(reference: Reference, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = reference
    if reason is not None:
        item.FailureReason = reason
    return item
