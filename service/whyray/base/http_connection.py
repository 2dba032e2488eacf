"""Connections of an HTTP endpoint, limited before it is known who calls: uvicorn waits for ever for a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_WITHIN = 60.0
"""Seconds that a connection may last without a request that is being answered."""
BODY_WITHIN = 60.0
"""Seconds that a request's body is awaited without a byte of it."""
_Message = MutableMapping[str, Any]


def connection_type(request_within: float, body_within: Callable[[], float]) -> type[H11Protocol]:
    """The protocol of the connections to one endpoint."""

    class Connection(H11Protocol):
        """Closed where no request's head comes in time, what is sent to a request already answered included.

        Aborted where a request's body stops while the application awaits it: neither the application's own work nor a
        pause that it makes in reading counts as the client's silence.
        """

        _until: asyncio.TimerHandle | None = None

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self._application, self.app = self.app, self._answer

        async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
            awaited = True

            async def received() -> _Message:
                nonlocal awaited
                try:
                    async with asyncio.timeout(body_within() if awaited else None):
                        message: _Message = await receive()
                except TimeoutError:
                    self.transport.abort()
                    message = await receive()  # that the client is gone, as soon as the transport is
                awaited = bool(message.get("more_body"))
                return message

            await self._application(scope, received, send)

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
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
