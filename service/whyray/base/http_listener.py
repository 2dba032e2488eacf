"""Where an HTTP endpoint accepts its connections and counts them: uvicorn knows of one after its TLS handshake alone.

Each takes a file descriptor of a process that keeps files and other connections too.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import weakref
from typing import Any

from whyray.base.repeat_filter import RepeatFilter

MOST_CONNECTIONS = 500
"""Of one endpoint at a time; one more is closed at once."""
HANDSHAKE_WITHIN = 10.0
"""Seconds that a TLS handshake may take."""
_log = logging.getLogger("whyray.http")


class CountedListener(socket.socket):
    """A listening socket that has `most` connections open at most. Takes the descriptor of `listener` over.

    `what` names the endpoint in the log.
    """

    def __init__(self, listener: socket.socket, what: str, most: int) -> None:
        super().__init__(fileno=listener.detach())
        self._what, self._most = what, most
        self._accepted: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._reported = RepeatFilter()

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection.

        Raises
        ------
        ConnectionAbortedError
            If it was one too many and is closed: asyncio goes on with the next, as where a client went away.
        """
        connection, address = super().accept()
        if len(self._accepted) >= self._most:
            self._accepted = weakref.WeakSet(one for one in self._accepted if one.fileno() != -1)
        if len(self._accepted) >= self._most:
            connection.close()
            if self._reported.passes(self._what) is not None:
                _log.warning("%d connections to the %s are open: more are closed at once", self._most, self._what)
            raise ConnectionAbortedError
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # one that vanished must not stay for good
        self._accepted.add(connection)
        return connection, address


class HttpLoop(asyncio.SelectorEventLoop):
    """An event loop that accepts by the listener's own `accept`, and ends a TLS handshake after `handshake_within` s.

    uvicorn has no setting for the latter and leaves it at asyncio's minute.
    """

    def __init__(self, handshake_within: float) -> None:
        super().__init__()
        self._handshake_within = handshake_within

    async def create_server(self, *where: Any, ssl: Any = None, **how: Any) -> asyncio.Server:
        """Listen, as asyncio does."""
        if ssl is not None:
            how["ssl_handshake_timeout"] = self._handshake_within
        return await super().create_server(*where, ssl=ssl, **how)
