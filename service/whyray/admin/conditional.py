"""Conditional GET for JSON: a page that asks every two seconds is told 'not modified' until something changed."""

from __future__ import annotations

import hashlib

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class ConditionalJson:
    """ASGI middleware: an ETag over the body of each JSON answer to GET, and 304 where the client has it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, holding back JSON bodies until their digest is known."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        known = Headers(scope=scope).get("if-none-match", "")
        start: Message | None = None
        body = b""

        async def hold(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start" and _is_json(message):
                start = message
            elif message["type"] == "http.response.body" and start is not None:
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    await _answer(start, body, known, send)
            else:
                await send(message)

        await self._app(scope, receive, hold)


def _is_json(message: Message) -> bool:
    return message["status"] == 200 and Headers(raw=message["headers"]).get("content-type") == "application/json"


async def _answer(start: Message, body: bytes, known: str, send: Send) -> None:
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = MutableHeaders(raw=start["headers"])
    headers["ETag"] = tag
    # kept by the browser, but asked for every time
    headers["Cache-Control"] = "private, no-cache"
    if tag in (etag.strip().removeprefix("W/") for etag in known.split(",")):
        start["status"], body = 304, b""
        del headers["content-length"]
    await send(start)
    await send({"type": "http.response.body", "body": body})
