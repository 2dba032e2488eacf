"""Who may connect, before any association is asked for: caps for each address, and who gives way where it is full."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from typing import Protocol

from whyray.config import Listener
from whyray.intake.admission import HostNames

CONNECTIONS_PER_ASSOCIATION = 4
_MOST_REMEMBERED = 1000


class Caps:
    """Tells of each cap when it begins to strike, and again only after a quarter of it was free in between.

    `tell` is given the words.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._striking: set[Hashable] = set()
        self._lock = threading.Lock()

    def strike(self, cap: Hashable, words: str) -> None:
        """This cap has turned somebody away."""
        with self._lock:
            if cap in self._striking:
                return
            if len(self._striking) >= _MOST_REMEMBERED:
                self._striking.clear()
            self._striking.add(cap)
        self._tell(words)

    def look(self, cap: Hashable, count: int, most: int) -> None:
        """Somebody came in where so many of `most` were."""
        if 4 * count < 3 * most:
            with self._lock:
                self._striking.discard(cap)


class Connection(Protocol):
    """A connection, whatever has become of it."""

    @property
    def opened(self) -> float:
        """When it came, by a monotonic clock."""

    @property
    def address(self) -> str:
        """From which IP address."""

    @property
    def awaits_request(self) -> bool:
        """Whether the peer has not yet asked for an association."""

    def make_room(self, words: str) -> None:
        """Close it."""


class Door:
    """Lets connections in, or finds one that gives way: of those that ask for nothing, strangers' first.

    Nothing here waits for DNS: it is asked from the connection's own thread, by `admits`.
    """

    def __init__(self, listener: Callable[[], Listener], resolve: HostNames, caps: Caps) -> None:
        self._listener, self._resolve, self._caps = listener, resolve, caps

    def admits(self, address: str) -> bool:
        """Whether any peer may call from this address."""
        listener = self._listener()
        if listener.accept_unknown_peers:
            return True
        return any(peer.admits(address, self._resolve) for peer in listener.peers.values())

    def refusal(self, address: str, connections: Iterable[Connection]) -> str | None:
        """Why one more connection from here may not be, in words; None if it may, or room was made for it.

        `connections` are those that are open now.
        """
        limits, there = self._listener().limits, list(connections)
        most = limits.max_associations * CONNECTIONS_PER_ASSOCIATION
        most_here = limits.of_an_address * CONNECTIONS_PER_ASSOCIATION
        here = [connection for connection in there if connection.address == address]
        if len(there) >= most:
            words = f"{most} connections are open, four for each of listener.limits.max_associations"
            self._caps.strike("connections", words)
            return self._make_room(there, words, stranger=not self._names(address))
        if len(here) >= most_here:
            words = f"{most_here} connections from {address} are open, four for each of listener.limits.max_per_address"
            self._caps.strike(("connections", address), words)
            return self._make_room(here, words, stranger=False)
        self._caps.look("connections", len(there), most)
        self._caps.look(("connections", address), len(here), most_here)
        return None

    def _make_room(self, candidates: Iterable[Connection], words: str, *, stranger: bool) -> str | None:
        silent = [connection for connection in candidates if connection.awaits_request]
        if stranger:
            silent = [connection for connection in silent if not self._names(connection.address)]
        if not silent:
            return words
        crowd = Counter(connection.address for connection in silent)
        first = min(
            silent,
            key=lambda connection: (
                self._names(connection.address),
                -crowd[connection.address],
                connection.opened,
            ),
        )
        first.make_room(f"it asked for no association, and made room for another: {words}")
        return None

    def _names(self, address: str) -> bool:
        """Whether `listener.peers` names this address, as far as that is known without asking DNS."""
        return any(
            peer.named_address and peer.admits(address, self._resolve.known) for peer in self._listener().peers.values()
        )
