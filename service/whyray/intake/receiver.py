"""What happens with an instance between its last byte and the peer's status."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydicom import Dataset
from sqlalchemy.exc import SQLAlchemyError

from whyray.base.errors import ResourceExhausted
from whyray.base.failures import logged
from whyray.base.outage_log import OutageLog
from whyray.base.repeat_filter import RepeatFilter
from whyray.catalog import (
    Arrival,
    AuditEvent,
    AuditParticipant,
    Catalog,
    Received,
    audit,
    events,
    known_series,
)
from whyray.intake.catalog_batch_writer import CatalogBatchWriter
from whyray.intake.header import Identity, NotUnderstood, identify
from whyray.intake.incoming_instance import IncomingInstance
from whyray.intake.object_receiver import ArrivedInstance, ObjectReceiver
from whyray.intake.refusals import Refused, catalog_down, failed_here, mismatch, not_understood, not_writable
from whyray.intake.transfers import IncomingTransfer
from whyray.intake.upper_layer import NO_TLS
from whyray.storage import Storage

SUCCESS = 0x0000
_NUMBER = re.compile(r"\d+")
_log = logging.getLogger("whyray.intake")


@dataclass
class InstanceReceiver:
    """Takes instances in: storage first, then the catalog, then the status.

    `is_own` is the loop guard, as far as the instance itself says it; `routed` says whether routes are asked about what
    comes this way; `on_release` is called when what brought instances has ended in good order.
    """

    storage: Storage
    catalog: Catalog
    batch_writer: CatalogBatchWriter
    is_own: Callable[[Dataset], bool]
    routed: bool = True
    on_release: Callable[[], None] = lambda: None
    _reported: RepeatFilter = field(default_factory=RepeatFilter)
    _auditing: OutageLog = field(default_factory=lambda: OutageLog(_log, "auditing the ends of transfers"))
    _releasing: OutageLog = field(default_factory=lambda: OutageLog(_log, "entering the ends of associations"))

    def take(
        self,
        incoming: IncomingInstance | None,
        sop_class_uid: str,
        sop_instance_uid: str,
        calling_ae: str,
        *,
        transfer: IncomingTransfer,
        study_uid: str | None = None,
    ) -> Received:
        """Keep what has arrived, of `study_uid` alone where given; returns when it is durable in storage and catalog.

        `transfer` is told of it, for the audit trail.

        Raises
        ------
        Refused
            If it is not kept, with the status for the peer.
        """
        if incoming is None:
            raise not_understood("there is no data set")
        if incoming.refused is not None:
            raise incoming.refused
        try:
            with incoming.received() as data:
                identity = identify(data, incoming.start, incoming.transfer_syntax_uid)
        except NotUnderstood as error:
            raise not_understood(str(error)) from error
        except OSError as error:
            raise not_writable(f"what was received can't be read: {error.strerror or error}") from error
        try:
            _compare(identity, sop_class_uid, sop_instance_uid, study_uid, by_dicom=transfer.by_dicom)
            received = self._keep(incoming, identity, calling_ae, transfer)
        except Refused as refused:
            refused.study_uid = identity.study_instance_uid
            transfer.refused(identity.study_instance_uid, identity.sop_class_uid, identity.patient_id)
            raise
        transfer.stored(identity.study_instance_uid, identity.sop_class_uid)
        return received

    def _keep(
        self, incoming: IncomingInstance, identity: Identity, calling_ae: str, transfer: IncomingTransfer
    ) -> Received:
        try:
            own = self.is_own(identity.header)
        except SQLAlchemyError as error:
            raise catalog_down(f"the catalog could not be asked: {type(error).__name__}") from error
        try:
            stored = incoming.commit()
        except ResourceExhausted as error:
            raise not_writable(error.message) from error
        received = Received(
            study_instance_uid=identity.study_instance_uid,
            series_instance_uid=identity.series_instance_uid,
            sop_instance_uid=identity.sop_instance_uid,
            sop_class_uid=identity.sop_class_uid,
            transfer_syntax_uid=incoming.transfer_syntax_uid,
            modality=identity.modality,
            sha256=stored.sha256,
            size=stored.size,
            key=stored.key,
            calling_ae=calling_ae,
            own_result=own,
            routed=self.routed,
            header=identity.kept,
        )
        try:
            begun = transfer.first(identity.study_instance_uid, identity.sop_class_uid, identity.patient_id)
            entered = self.batch_writer.enter(received, begun)
        except Exception as error:  # of the database
            # Whether the row was committed is not known when a connection breaks: the bytes stay until the sweep of
            # orphans has asked the catalog.
            raise catalog_down(f"the catalog could not be written: {type(error).__name__}") from error
        if entered.arrival is Arrival.DUPLICATE:
            self.storage.delete(stored.key)
        return received if entered.own_result == own else replace(received, own_result=True)

    def report(self, refused: Refused, calling_ae: str, *, service: str = "C-STORE") -> None:
        """Log an instance that was refused, and enter it as an event."""
        message = f"{service} from {calling_ae} refused with 0x{refused.status:04X}: {refused.detail}"
        severity: events.Severity = "error" if refused.status & 0xFF00 == 0xA700 else "warning"
        self._say(severity, refused.kind, calling_ae, message, refused.study_uid)

    def rejected(self, calling_ae: str, address: str, words: str, *, what: str = "association") -> None:
        """Log an association or request that was rejected, and enter it as an event."""
        who = _printable(calling_ae)
        # by address and reason too: many share a name, and over DICOMweb all do
        reason = _NUMBER.sub("", words)
        key = f"{who} {address} {reason}"
        self._say("warning", "intake.rejected", key, f"{what} from {who} at {address} rejected: {words}")

    def turned_away(self, address: str, words: str) -> None:
        """Log a connection that was closed before anything was asked for, and enter it as an event."""
        self._say("warning", "intake.rejected", address, f"connection from {address} closed: {words}")

    def ended(self, calling_ae: str, address: str, words: str) -> None:
        """Log an association that ended otherwise than by a release or a rejection, and enter it as an event."""
        who = _printable(calling_ae)
        message = f"association from {who} at {address} ended: {words}"
        alert = address if words.startswith(NO_TLS) else None
        self._say("warning", "intake.aborted", f"{who} at {address}: {words}", message, alert_from=alert)

    def audit(self, happened: Sequence[AuditEvent]) -> None:
        """Append to the audit trail, if the catalog takes it."""
        if not happened:
            return
        try:
            with self.batch_writer.turn(), self.catalog.begin_bare() as transaction:
                audit.append(transaction, happened, self.catalog.keys)
        except Exception as error:  # of the database; the instances are here, and their beginning is in the trail
            self._auditing.failed(error)
        else:
            self._auditing.well()

    def _say(
        self,
        severity: events.Severity,
        kind: events.EventKind,
        what: str,
        message: str,
        study_uid: str | None = None,
        *,
        alert_from: str | None = None,
    ) -> None:
        """Enter an event once a minute for the same reason and peer."""
        more = self._reported.passes((kind, what))
        if more is None:
            _log.info("%s: %s", kind, message)
            return
        self.note(severity, kind, message + (f"; {more} more since the last event" if more else ""), study_uid)
        if alert_from is not None:
            who = AuditParticipant(name="unknown", requestor=True, address=alert_from)
            alert = AuditEvent(
                at=self.catalog.clock(), kind="network-alert", outcome=4, words=message, participants=(who,)
            )
            self.audit([alert])

    def note(
        self, severity: events.Severity, kind: events.EventKind, message: str, study_uid: str | None = None
    ) -> None:
        """Enter an event, if the catalog takes it."""
        try:
            with self.catalog.begin() as session:
                events.record(session, self.catalog.clock(), severity, kind, message, study=study_uid)
        except Exception as error:  # of the database; an event must not cost an instance
            _log.error("an event could not be entered (%s): %s: %s", type(error).__name__, kind, message)

    def released(self, study_uids: set[str], happened: Sequence[AuditEvent] = ()) -> None:
        """Note the end of an association that brought instances of these studies; `happened` is appended to the audit
        trail with it.
        """
        try:
            with self.batch_writer.turn(), self.catalog.begin_bare() as transaction:
                known_series.release(transaction, study_uids, self.catalog.clock())
                audit.append(transaction, happened, self.catalog.keys)
        except Exception as error:  # of the database
            # routing then waits for quiet instead of the release
            self._releasing.failed(error)
            self.audit(happened)
            return
        self._releasing.well()
        self.on_release()


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


def _compare(
    identity: Identity, sop_class_uid: str, sop_instance_uid: str, study_uid: str | None, *, by_dicom: bool
) -> None:
    by = "command" if by_dicom else "File Meta Information"
    if identity.sop_class_uid != sop_class_uid:
        raise mismatch("SOP Class UID", sop_class_uid, identity.sop_class_uid, by)
    if identity.sop_instance_uid != sop_instance_uid:
        raise mismatch("SOP Instance UID", sop_instance_uid, identity.sop_instance_uid, by)
    if study_uid is not None and identity.study_instance_uid != study_uid:
        raise mismatch("Study Instance UID", study_uid, identity.study_instance_uid, "request")


def store(association: Any, arrived: ArrivedInstance, receiver: InstanceReceiver) -> tuple[int, str]:
    """C-STORE: PS3.4 section B.2.2. Success says that the instance is durable here, and in the catalog."""
    provider: ObjectReceiver = association.dimse
    calling_ae = str(association.requestor.ae_title).strip()
    incoming = arrived.incoming
    try:
        if incoming is None:
            raise not_understood("there is no data set")
        transfer = provider.transfer = provider.transfer or _transfer_of(association, calling_ae, receiver)
        received = receiver.take(
            incoming, incoming.sop_class_uid, incoming.sop_instance_uid, calling_ae, transfer=transfer
        )
    except Refused as refused:
        receiver.report(refused, calling_ae)
        return refused.status, refused.comment
    except Exception as error:  # the peer gets a status, whatever it was
        logged(_log, error, f"taking an instance from {calling_ae}")
        fault = failed_here(error)
        receiver.report(fault, calling_ae)
        return fault.status, fault.comment
    finally:
        if incoming is not None:
            incoming.close()
    if not received.own_result:
        provider.study_uids.add(received.study_instance_uid)
    return SUCCESS, ""


def _transfer_of(association: Any, calling_ae: str, receiver: InstanceReceiver) -> IncomingTransfer:
    return IncomingTransfer(
        calling_ae,
        receiver.catalog.clock,
        address=str(association.requestor.address_info.address),
        called=str(association.requestor.primitive.called_ae_title).strip(),
        by_dicom=True,
    )


def on_released(event: Any, receiver: InstanceReceiver) -> None:
    """The peer ended the association in good order: what it brought is likely to be whole."""
    association: ObjectReceiver = event.assoc.dimse
    if association.study_uids:
        happened = [] if association.transfer is None else association.transfer.end()
        receiver.released(association.study_uids, happened)


def on_closed(event: Any, receiver: InstanceReceiver) -> None:
    """The connection is closed, after a release or before one: no more will come."""
    association: ObjectReceiver = event.assoc.dimse
    if association.transfer is not None:
        receiver.audit(association.transfer.end(event.assoc.upper_layer.why_ended))
