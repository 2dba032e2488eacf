"""No HTTP door takes more than it can use: bodies of requests are limited before anything keeps them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """ASGI middleware that answers a request whose body is too large, by its declared length or as it comes.

    Parameters
    ----------
    most
        How many bytes a path takes.
    refusal
        The answer (413) where so many are allowed.
    """

    def __init__(self, app: ASGIApp, most: Callable[[str], int], refusal: Callable[[int], ASGIApp]) -> None:
        self._app, self._most, self._refusal = app, most, refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most, came, begun = self._most(scope["path"]), 0, False
        declared = dict(scope["headers"]).get(b"content-length", b"")
        if declared.isdigit() and int(declared) > most:
            await self._refusal(most)(scope, receive, send)
            return

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > most and not begun:
                raise _TooLargeError
            return message

        async def unless_too_large(message: Message) -> None:
            nonlocal begun
            if came > most and not begun:
                return  # what the application says of a body that was cut off
            begun = True
            await send(message)

        with suppress(_TooLargeError):
            await self._app(scope, counted, unless_too_large)
        if came > most and not begun:
            await self._refusal(most)(scope, receive, send)


class _TooLargeError(Exception):
    """More came than is taken."""
