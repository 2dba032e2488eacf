"""Who may open an association, and for which services: PS3.8 section 9.3.4, PS3.7 annex D."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, UID_dictionary
from pynetdicom.presentation import PresentationContext
from pynetdicom.service_class import ServiceClass
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification, uid_to_service_class

from whyray.config import Listener
from whyray.intake.association_request import NO_TITLE, presentation_context
from whyray.intake.part10 import TRANSFER_SYNTAXES

STORAGE_SERVICE = "1.2.840.10008.4.2"
_COMPOSITE_STORAGE = "1.2.840.10008.5.1.4.1.1."
UNCOMPRESSED = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian), str(ExplicitVRBigEndian))
_RESOLVED_FOR = 60.0

Resolve = Callable[[str], frozenset[str]]


@dataclass(frozen=True)
class Rejection:
    """An A-ASSOCIATE-RJ: result, source and reason of PS3.8 table 9-21, and the reason in words.

    `cap` is the key of the limit that strikes, where one does: 'associations', (limit, whom it concerns).
    """

    result: int
    source: int
    reason: int
    words: str
    cap: str | tuple[str, str] | None = None


CLOSED_MEANWHILE = Rejection(2, 3, 1, "its connection was closed meanwhile")
"""Temporary congestion, of an association that nobody counts any more."""


def rejection(
    listener: Listener,
    *,
    called: str,
    calling: str,
    address: str,
    in_use: int,
    resolve: Resolve,
    by_tls: bool = False,
    of_address: int = 0,
    of_title: int = 0,
) -> Rejection | None:
    """Why this association may not be, or None if it may.

    `in_use` counts the associations that are open, `of_address` and `of_title` those of the same peer among them.
    """
    if called != listener.ae_title:
        return Rejection(1, 1, 7, f"it called {called!r}, but this is {listener.ae_title!r}")
    if calling == NO_TITLE:
        return Rejection(1, 1, 3, "its calling AE title is empty")
    peer = listener.peers.get(calling)
    if peer is None and not listener.accept_unknown_peers:
        return Rejection(1, 1, 3, "listener.peers does not name it")
    if peer is not None and not peer.admits(address, resolve):
        return Rejection(1, 1, 3, f"listener.peers does not allow it to call from {address}")
    if peer is not None and peer.tls and not by_tls:
        return Rejection(1, 1, 1, "listener.peers wants it to come by TLS")
    return too_many(listener, calling, address, in_use, of_address, of_title, named=peer is not None)


def too_many(
    listener: Listener, calling: str, address: str, in_use: int, of_address: int, of_title: int, *, named: bool
) -> Rejection | None:
    """Why one more association may not be where so many are open; `named`: whether `listener.peers` has the title."""
    limits = listener.limits
    cap: str | tuple[str, str] = "associations"
    if in_use >= limits.max_associations:
        words = f"{in_use} associations are open, as many as listener.limits allows"
    elif not named and listener.peers and in_use >= limits.max_associations - limits.reserve:
        cap = "reserve"
        words = f"{in_use} associations are open, and listener.limits keeps the other {limits.reserve} for named peers"
    elif of_address >= limits.of_an_address:
        cap = "address", address
        words = f"{of_address} associations from {address} are open, as many as listener.limits.max_per_address allows"
    elif of_title >= limits.of_an_ae_title:
        cap = "AE title", calling
        words = f"{of_title} associations of {calling} are open, as many as listener.limits.max_per_ae_title allows"
    else:
        return None
    return Rejection(2, 3, 2, words, cap)


class HostNames:
    """Looks names of peers up, and remembers for a minute: an association must not wait for DNS each time."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._known: dict[str, tuple[float, frozenset[str]]] = {}

    def known(self, name: str) -> frozenset[str]:
        """Return what was found when the name was last looked up, without asking anybody."""
        return self._known.get(name, (0.0, frozenset()))[1]

    def __call__(self, name: str) -> frozenset[str]:
        """Return the IP addresses of a host name; none if it has none now."""
        until, addresses = self._known.get(name, (0.0, frozenset()))
        if self._monotonic() >= until:
            try:
                addresses = frozenset(str(addrinfo[4][0]) for addrinfo in socket.getaddrinfo(name, None))
            except OSError:
                addresses = frozenset()
            self._known[name] = (self._monotonic() + _RESOLVED_FOR, addresses)
        return addresses


@lru_cache(maxsize=1024)
def is_storage(abstract_syntax: str) -> bool:
    """Whether this is a composite storage SOP class (PS3.4 table B.5-1), or one unknown here: private, or newer.

    Non-patient objects (PS3.4 annex GG: hanging protocols, implant templates …) belong to no study and are not taken.
    """
    service = uid_to_service_class(abstract_syntax)
    if service is uid_to_service_class(STORAGE_SERVICE):
        return True
    if abstract_syntax in UID_dictionary:
        return service is ServiceClass and abstract_syntax.startswith(_COMPOSITE_STORAGE)
    return True


def supported(proposed: Iterable[PresentationContext]) -> list[PresentationContext]:
    """What is accepted of the proposed contexts: one context an abstract syntax, transfer syntaxes in the peer's order.

    The peer's order is kept so that it can send what it has, without decoding or encoding anything. Storage commitment
    is accepted in both roles: a peer asks us, or reports what we asked it.
    """
    wanted: dict[str, list[str]] = {}
    for context in proposed:
        abstract = str(context.abstract_syntax)
        if abstract in (Verification, StorageCommitmentPushModel):
            wanted[abstract] = list(UNCOMPRESSED)
        elif is_storage(abstract):
            syntaxes = wanted.setdefault(abstract, [])
            for syntax in context.transfer_syntax:
                if syntax in TRANSFER_SYNTAXES and syntax not in syntaxes:
                    syntaxes.append(str(syntax))
    contexts = [presentation_context(abstract, syntaxes) for abstract, syntaxes in wanted.items() if syntaxes]
    for context in contexts:
        if context.abstract_syntax == StorageCommitmentPushModel:
            context.scu_role = context.scp_role = True
    return contexts
