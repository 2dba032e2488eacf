"""Connections of an HTTP endpoint, limited before anything is known of who calls: uvicorn waits for ever for a request.

Each takes a file descriptor of a process that keeps files and other connections too.
"""

from __future__ import annotations

import asyncio
import logging

from uvicorn.protocols.http.h11_impl import H11Protocol

from whyray.base.repeat_filter import RepeatFilter

REQUEST_WITHIN = 60.0
"""Seconds that a connection may last without a request that is being answered."""
MOST_CONNECTIONS = 500
"""Of one endpoint at a time; one more is closed at once."""
_log = logging.getLogger("whyray.http")


def connection_type(what: str, request_within: float, most: int) -> type[H11Protocol]:
    """The protocol of the connections to one endpoint, which `what` names in the log."""
    reported = RepeatFilter()

    class Connection(H11Protocol):
        """Closed where no whole request comes in time, what is sent to a request already answered included."""

        _until: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > most:
                if reported.passes((what,)) is not None:
                    _log.warning("%d connections to the %s are open: more are closed at once", most, what)
                transport.abort()
                return
            self._watch()

        def handle_events(self) -> None:
            super().handle_events()
            self._watch()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._end_watch()

        def _watch(self) -> None:
            if self.cycle is not None and not self.cycle.response_complete:
                self._end_watch()
            elif self._until is None and not self.transport.is_closing():
                self._until = self.loop.call_later(request_within, self.transport.abort)

        def _end_watch(self) -> None:
            if self._until is not None:
                self._until.cancel()
                self._until = None

    return Connection
