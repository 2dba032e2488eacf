"""Storage commitment as its user (PS3.4 annex J): asked for after a batch, reported when the peer is ready.

The report comes on the association that asked, or on a new one that the peer opens to WhyRay's listener: the intake
binds `commitment_handlers` and `commitment_context` for that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from pydicom import Dataset
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from whyray.base.failures import logged
from whyray.base.sources import IdSource, random_uid
from whyray.catalog import Catalog, Delivery, deliveries, events
from whyray.delivery.statuses import describe
from whyray.delivery.syntaxes import UNCOMPRESSED

_log = logging.getLogger("whyray.delivery")

MOST_REFERENCES = 500
"""Instances of one request."""

NO_REASON = 0x0110
"""Processing failure: the reason noted where a peer gives none."""


def commitment_context() -> PresentationContext:
    """Storage Commitment Push Model, to be proposed or supported."""
    return build_context(StorageCommitmentPushModel, list(UNCOMPRESSED))


def request_commitment(
    catalog: Catalog, link: Association, sent: Sequence[Delivery], *, uid_source: IdSource = random_uid
) -> str | None:
    """Ask the peer, over an open association, to commit to keeping what it was sent.

    The request is in the catalog before it leaves, since the report may come before the answer does. Deliveries must be
    in the catalog as sent, and must have their results loaded.

    Returns
    -------
    The Transaction UID; None if the peer does not offer storage commitment on this association, or refused: then the
    deliveries are asked for again when their time is over.
    """
    if not sent:
        return None
    peer = f"{sent[0].destination} ({link.acceptor.ae_title.strip()})"
    transaction = uid_source()
    now = catalog.clock()
    with catalog.begin() as session:
        deliveries.ask_commitment(session, [delivery.id for delivery in sent], transaction, now)
    offered = any(context.abstract_syntax == StorageCommitmentPushModel for context in link.accepted_contexts)
    if offered and link.is_established:
        request = Dataset()
        request.TransactionUID = transaction
        request.ReferencedSOPSequence = [_reference(delivery) for delivery in sent]
        answer, _ = link.send_n_action(request, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
        if "Status" in answer and answer.Status == 0:
            return transaction
        outcome = describe(int(answer.Status)) if "Status" in answer else "no answer"
    else:
        outcome = "the peer does not offer the Storage Commitment Push Model to WhyRay"
    with catalog.begin() as session:
        events.record(
            session,
            now,
            "warning",
            "delivery.commitment_refused",
            f"{peer} was asked to commit to {len(sent)} objects: {outcome}; asked again later",
        )
    return None


def _reference(delivery: Delivery) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = delivery.result.sop_class_uid
    item.ReferencedSOPInstanceUID = delivery.result.sop_instance_uid
    return item


def commitment_handlers(catalog: Catalog) -> list[tuple[Any, Callable[..., Any], list[Any]]]:
    """Event handlers for N-EVENT-REPORT, for an association that asked or for the listener.

    The listener supports the context with both roles, so that a peer may be provider on an association that it opens:
    `ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)`.
    """
    return [(evt.EVT_N_EVENT_REPORT, on_commitment_report, [catalog])]


def on_commitment_report(event: evt.Event, catalog: Catalog) -> tuple[int, None]:
    """Enter a peer's report (event type 1: all committed, 2: some failed). 0x0000 when it is in the catalog."""
    try:
        report = event.event_information
        transaction = str(report.TransactionUID)
        committed = [str(reference.ReferencedSOPInstanceUID) for reference in report.get("ReferencedSOPSequence") or []]
        failed = {
            str(reference.ReferencedSOPInstanceUID): int(reference.get("FailureReason") or NO_REASON)
            for reference in report.get("FailedSOPSequence") or []
        }
    except (AttributeError, ValueError, TypeError):
        _log.warning("a storage commitment report from %s can't be read", event.assoc.remote["ae_title"])
        return 0x0115, None
    try:
        enter_report(catalog, transaction, committed, failed)
    except Exception as error:  # the peer is to report again, whatever it was
        logged(_log, error, f"the storage commitment report {transaction} could not be entered")
        return 0x0110, None
    return 0x0000, None


def enter_report(catalog: Catalog, transaction: str, committed: Sequence[str], failed: dict[str, int]) -> int:
    """Move the deliveries that a report concerns; says how many. A failure is an event too, and is sent again."""
    now = catalog.clock()
    with catalog.begin() as session:
        moved = deliveries.commitment_reported(session, transaction, committed, failed, now)
        if failed and moved:
            reasons = ", ".join(sorted({describe(reason) for reason in failed.values()}))
            events.record(
                session,
                now,
                "warning",
                "delivery.uncommitted",
                f"the peer could not commit to {len(failed)} objects of transaction {transaction}: {reasons}",
            )
    if not moved:
        _log.info("the commitment report %s concerns nothing that waits for one", transaction)
    return moved
