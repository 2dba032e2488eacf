"""Associations out: opened with exactly the contexts that are needed, and failures told apart by what can be done."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context

from whyray.base.errors import PeerRefused, PeerUnreachable, WhyRayError
from whyray.config import DicomPeer
from whyray.delivery.connecting import RequestingAE, calling_context, connection_failure, duration
from whyray.delivery.reactor_pause import ReactorCheckpoint
from whyray.delivery.statuses import rejection

MOST_CONTEXTS = 128
"""Presentation contexts of one association: identifiers are the odd numbers from 1 to 255 (PS3.8 section 9.3.2.2)."""

MOST_BROKEN = 3
"""So many associations in a row that broke without one object stored: the peer is at fault, not the objects."""

LARGEST_PDU = 1 << 20
"""Bytes of a PDU sent, where the peer has no limit or a higher one: the time-out is for each to be taken as a whole."""

EventHandlers = list[Any]
"""pynetdicom's (event, handler) or (event, handler, arguments) tuples."""


@dataclass(frozen=True)
class Caller:
    """Who calls: WhyRay's AE title."""

    ae_title: str = "WHYRAY"

    def title_for(self, peer: DicomPeer) -> str:
        """The AE title that this peer knows us by."""
        return peer.calling_ae_title or self.ae_title


def address(peer: DicomPeer) -> str:
    """The peer for people: 'PACS_MAIN@10.0.0.5:104'."""
    return f"{peer.ae_title}@{peer.host}:{peer.port}"


@contextmanager
def association(
    peer: DicomPeer,
    caller: Caller,
    contexts: Sequence[PresentationContext],
    *,
    handlers: EventHandlers | None = None,
) -> Iterator[Association]:
    """An established association; released at the end, aborted if the block raises.

    Raises
    ------
    PeerUnreachable
        If there is no connection, no answer in time, the peer aborts, or a file for TLS can't be used.
    PeerBusy, PeerRefused
        If the peer rejects the association, by its result; PeerRefused too if it accepts none of the contexts.
    """
    ae = RequestingAE(caller.title_for(peer))
    tls = None if peer.tls is None else ae.by_tls(calling_context(peer.tls.context, address(peer)), peer.host)
    ae.connection_timeout = peer.timeouts.connect.total_seconds()
    ae.acse_timeout = peer.timeouts.acse.total_seconds()
    ae.dimse_timeout = peer.timeouts.dimse.total_seconds()
    ae.network_timeout = max(ae.dimse_timeout, 60.0)
    connected: list[float] = []
    begun = time.monotonic()

    def opened(event: evt.Event) -> None:
        connected.append(time.monotonic())
        event.assoc._reactor_checkpoint = ReactorCheckpoint(event.assoc)
        link = event.assoc.dul.socket.socket
        # commands and data leave in several small packets: Nagle's algorithm would hold each back for 40 ms
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # pynetdicom's time-outs are for answers: a peer that reads no further would hold its thread, and all that is
        # to go there, for as long as its machine runs; so would one that says nothing after TLS's session tickets,
        # which pynetdicom takes for the beginning of a PDU. (By SO_SNDTIMEO an SSLSocket would try again for ever.)
        link.settimeout(max(ae.acse_timeout, ae.dimse_timeout))

    try:
        link = ae.associate(
            peer.host,
            peer.port,
            contexts=list(contexts),
            ae_title=peer.ae_title,
            max_pdu=peer.max_pdu,
            tls_args=tls,
            evt_handlers=[(evt.EVT_CONN_OPEN, opened), *(handlers or [])],
        )
    except OSError as error:
        words = connection_failure(error, time.monotonic() - begun)
        raise PeerUnreachable(f"{address(peer)} can't be connected to: {words}") from error
    if not link.is_established:
        now = time.monotonic()
        if not connected and not link.is_rejected:
            words = connection_failure(ae.failure, now - begun)
            raise PeerUnreachable(f"{address(peer)} can't be connected to: {words}") from ae.failure
        raise _why_not(link, peer, caller, waited=now - connected[0] if connected else 0.0)
    accepted = link.acceptor.primitive
    accepted.maximum_length_received = min(accepted.maximum_length_received or LARGEST_PDU, LARGEST_PDU)
    try:
        yield link
    except BaseException:
        if link.is_established:
            link.abort()
        raise
    if link.is_established:
        link.release()


def _why_not(link: Association, peer: DicomPeer, caller: Caller, *, waited: float) -> WhyRayError:
    name = address(peer)
    answer = link.acceptor.primitive
    if link.is_rejected and answer is not None:
        return rejection(answer.result, answer.result_source, answer.diagnostic, name, caller.title_for(peer))
    if link.rejected_contexts and not link.accepted_contexts:
        return PeerRefused(f"{name} accepts none of what was proposed: {refusals(link.rejected_contexts)}")
    limit = peer.timeouts.acse.total_seconds()
    return PeerUnreachable(
        f"{name} {silence(waited, limit, 'the association request')}", advice=None if waited >= limit else _CLOSED
    )


_CLOSED = (
    "Something answers there, and closed the connection: it may not allow this address or AE title, or want TLS, or be "
    "no DICOM peer. Look at its log; of a WhyRay: at its Events, and who may call under `listener.peers`."
)
"""What to do about a peer that connects and takes no association: it runs, and host, port and firewall are right."""


def silence(waited: float, limit: float, what: str) -> str:
    """Whether a peer let the time for an answer pass, or ended the association before: told by the time it took."""
    if waited >= limit:
        return f"did not answer {what} within {duration(limit)}"
    return f"aborted, or closed the connection, {duration(waited)} after {what}"


_REFUSALS = {
    1: "user rejection",
    2: "no reason given",
    3: "SOP Class not supported",
    4: "transfer syntaxes not supported",
}
"""Result of a presentation context, PS3.8 table 9-18."""


def refusals(contexts: Sequence[PresentationContext]) -> str:
    """The SOP Classes of rejected contexts with the peer's reason: 'Segmentation Storage (SOP Class not supported)'."""
    reasons = {
        str(context.abstract_syntax.name): _REFUSALS.get(context.result, str(context.result)) for context in contexts
    }
    return ", ".join(f"{name} ({reason})" for name, reason in sorted(reasons.items()))


def context(sop_class_uid: str, *transfer_syntax_uids: str) -> PresentationContext:
    """One proposal: a SOP Class with the transfer syntaxes to choose from."""
    return build_context(sop_class_uid, list(transfer_syntax_uids))
