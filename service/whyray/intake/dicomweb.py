"""STOW-RS over HTTP (PS3.18 section 10.5): who may send, and the body on its way from the socket into a request."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from urllib.parse import urlsplit

from pydicom import Dataset
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from whyray.base.errors import ConfigError
from whyray.base.given_secrets import holder_of
from whyray.base.guess_brake import GuessBrake
from whyray.base.http_server import HttpServer, listen, serve_http
from whyray.base.uids import is_uid
from whyray.catalog import api_tokens
from whyray.config import Listener
from whyray.intake.accept import preferred
from whyray.intake.incoming_instance import Begin
from whyray.intake.multipart import MalformedBody, MultipartReader
from whyray.intake.native_model import to_native_model
from whyray.intake.receiver import InstanceReceiver
from whyray.intake.request_body import CONTENT_ENCODINGS, Body, GzipBody, SinglePart
from whyray.intake.stow import MEDIA_TYPE, StoreRequest

PATH = "/dicom-web/studies"
LOCAL_SENDER = "STOW-RS"
"""The calling AE that the catalog names where there are no tokens, and so no names."""
_FILE_META = 2 << 20
"""Bytes that a file may have before its data set."""
_WHAT = "DICOMweb listener"
_PROXY_HEADERS = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


def _json(data: Dataset) -> bytes:
    return json.dumps(data.to_json_dict()).encode()


_ANSWERS: Mapping[str, Callable[[Dataset], bytes]] = {
    "application/dicom+json": _json,
    "application/dicom+xml": to_native_model,
    "application/json": _json,
    "application/xml": to_native_model,
}
"""The first is given to who has no preference; the last two to who asks by a name that was in use before PS3.18."""
Admit = Callable[[Request], Awaitable[str | Response]]
"""Who asks: a name, or the response that turns the request away."""
MoreRoutes = Callable[[Admit], Sequence[BaseRoute]]
"""Resources of others that are served beside STOW-RS, behind the same tokens."""


def start_dicomweb(
    listener: Callable[[], Listener], receiver: InstanceReceiver, begin: Begin, more: MoreRoutes = lambda _: ()
) -> HttpServer | None:
    """Serve STOW-RS if the configuration has it; `listener` gives the configuration in force.

    Raises
    ------
    ConfigError
        If the address or port can't be listened on, or strangers would be let in.
    """
    settings = listener().dicomweb
    if settings is None:
        return None
    socket = listen(settings.address, settings.port, what=_WHAT)
    if settings.open_to_this_machine and not ipaddress.ip_address(socket.getsockname()[0]).is_loopback:
        socket.close()
        raise ConfigError(
            f"everybody who reaches {settings.address} could send by STOW-RS",
            advice="Give listener.dicomweb tokens, api_tokens: true, or the address 127.0.0.1.",
        )
    tls = None if settings.tls is None else settings.tls.context()
    return serve_http(
        _Service(listener, receiver, begin).app(more),
        socket,
        settings.address,
        what=_WHAT,
        tls=tls,
        body_within=lambda: listener().limits.dimse_timeout.total_seconds(),
    )


class _Service:
    def __init__(self, listener: Callable[[], Listener], receiver: InstanceReceiver, begin: Begin) -> None:
        self._listener, self._receiver, self._begin = listener, receiver, begin
        self._in_use = 0
        self._brake = GuessBrake(receiver.catalog.clock)
        self._lock = threading.Lock()

    def app(self, more: MoreRoutes) -> Starlette:
        routes = [Route(path, self._post, methods=["POST"]) for path in (PATH, PATH + "/{study}")]
        return Starlette(routes=[*routes, *more(self._admit)])

    async def _admit(self, request: Request) -> str | Response:
        try:
            sender = await run_in_threadpool(self._sender, request)
        except SQLAlchemyError:
            return _later("the catalog, which knows the tokens, does not answer")
        if isinstance(sender, Response):
            address = request.client.host if request.client else "unknown"
            if sender.status_code == HTTPStatus.UNAUTHORIZED:
                if self._brake.blocked(address):
                    words = "too many wrong tokens: wait a minute"
                    sender = _refusal(HTTPStatus.TOO_MANY_REQUESTS, words, {"Retry-After": "60"})
                elif "authorization" in request.headers:
                    self._brake.failed(address)
            words = bytes(sender.body).decode()
            await run_in_threadpool(self._receiver.rejected, "somebody", address, words, what="DICOMweb request")
        return sender

    def _sender(self, request: Request) -> str | Response:
        """Who sends: the name of the bearer token, or, where none is needed, this machine."""
        settings = self._listener().dicomweb
        if settings is None:
            return _refusal(HTTPStatus.FORBIDDEN, "STOW-RS has been taken out of the configuration")
        if settings.open_to_this_machine:
            return _local_sender(request)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        given = {name: secret.reveal() for name, secret in settings.tokens.items()}
        name = holder_of(token.strip(), given) if scheme.lower() == "bearer" else None
        if name is None and settings.api_tokens and scheme.lower() == "bearer":
            row = api_tokens.admitted(self._receiver.catalog, token.strip())
            if row is not None and "stow" not in row.scopes:
                return _refusal(HTTPStatus.FORBIDDEN, f"the {api_tokens.actor_of(row)} has not the scope stow")
            name = None if row is None else row.name
        if name is not None:
            return name
        challenge = {"WWW-Authenticate": 'Bearer realm="WhyRay"'}
        return _refusal(HTTPStatus.UNAUTHORIZED, "a bearer token of listener.dicomweb is needed", challenge)

    async def _post(self, request: Request) -> Response:
        sender = await self._admit(request)
        if isinstance(sender, Response):
            return sender
        listener = self._listener()
        form = _form(request)
        if isinstance(form, Response):
            return form
        study = request.path_params.get("study")
        if study is not None and not is_uid(study):
            return _refusal(HTTPStatus.BAD_REQUEST, "the study in the path is not a UID")
        most, declared = listener.limits.max_instance_size, request.headers.get("content-length", "")
        if form.boundary is None and not form.gzip and declared.isdigit() and int(declared) > most + _FILE_META:
            words = f"an instance of more than {most} bytes (listener.limits.max_instance_size) is not taken"
            return _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, words)
        if self._in_use >= listener.limits.max_associations:
            return _later("as many requests run as listener.limits allows")
        self._in_use += 1
        try:
            address = request.client.host if request.client else None
            store = StoreRequest(self._receiver, self._begin, sender, study, address)
            return await self._store(request, form, store)
        finally:
            self._in_use -= 1

    async def _store(self, request: Request, form: _Form, store: StoreRequest) -> Response:
        limits = self._listener().limits
        stall = limits.dimse_timeout.total_seconds()
        broken = None
        try:
            reader = form.reader(store, limits.max_instance_size)
            async for piece in _pieces(request, stall):
                await run_in_threadpool(reader.feed, piece)
            await run_in_threadpool(reader.close)
        except MalformedBody as error:
            broken = str(error)
        except ClientDisconnect:
            broken = "the client went away"
            return _refusal(HTTPStatus.BAD_REQUEST, broken)  # to nobody
        except TimeoutError:
            broken = "the rest of the body did not come in time"
        finally:
            store.close()
            await run_in_threadpool(store.audit, broken or "")
        if broken is not None:
            await run_in_threadpool(store.broken, broken)
        elif store.study_uids:
            await run_in_threadpool(self._receiver.released, store.study_uids)
        if broken is not None and not store.stored:
            return _refusal(HTTPStatus.BAD_REQUEST, broken)
        status = store.status
        body = _ANSWERS[form.answer](store.response())
        return Response(body, status, _retry(status), media_type=form.answer)


async def _pieces(request: Request, stall: float) -> AsyncIterator[bytes]:
    stream = request.stream()
    while True:
        async with asyncio.timeout(stall):
            try:
                piece = await anext(stream)
            except StopAsyncIteration:
                return
        if piece:
            yield piece


def _local_sender(request: Request) -> str | Response:
    # the Host header must name this machine, so that no page of another site reaches it by DNS rebinding
    host = urlsplit("//" + request.headers.get("host", "")).hostname or ""
    proxied = any(header in request.headers for header in _PROXY_HEADERS)
    if request.client is None or proxied or host not in _LOCAL_NAMES or not _is_local(request.client.host):
        return _refusal(HTTPStatus.FORBIDDEN, "without tokens, only direct clients on this machine may send")
    return LOCAL_SENDER


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class _Form:
    """How a request's body is made, and in which form it wants its answer."""

    boundary: str | None
    """Of several parts; None where the body is one instance."""
    gzip: bool
    answer: str

    def reader(self, store: StoreRequest, most_wasted: int) -> Body:
        body = SinglePart(store) if self.boundary is None else MultipartReader(self.boundary, store)
        return GzipBody(body, store.wasted, most_wasted) if self.gzip else body


def _form(request: Request) -> _Form | Response:
    """The form of a request whose body can be taken, and that asks for an answer which can be given."""
    # PS3.18 section 8.3.3.1: the parameter is for clients that can't set the header
    accept = request.query_params.get("accept") or ",".join(request.headers.getlist("accept"))
    answer = preferred(accept, tuple(_ANSWERS))
    if answer is None:
        return _refusal(HTTPStatus.NOT_ACCEPTABLE, f"the answer is {' or '.join(_ANSWERS)}")
    encoding = request.headers.get("content-encoding", "").strip().lower() or "identity"
    if encoding not in ("identity", *CONTENT_ENCODINGS):
        taken = {"Accept-Encoding": CONTENT_ENCODINGS[0]}
        return _refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the content encoding taken is gzip", taken)
    message = Message()
    message["content-type"] = request.headers.get("content-type", "")
    boundary = None
    if message.get_content_type() != MEDIA_TYPE:
        # the type of the parts may have parameters of its own: type="application/dicom; transfer-syntax=…"
        parts = str(message.get_param("type") or MEDIA_TYPE).partition(";")[0].strip().lower()
        if message.get_content_type() != "multipart/related" or parts != MEDIA_TYPE:
            words = f'send {MEDIA_TYPE}, or multipart/related; type="{MEDIA_TYPE}"'
            return _refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, words)
        boundary = message.get_boundary()
        if not boundary:
            return _refusal(HTTPStatus.BAD_REQUEST, "the content type names no boundary")
    return _Form(boundary, encoding != "identity", answer)


def _later(words: str) -> Response:
    return _refusal(HTTPStatus.SERVICE_UNAVAILABLE, words, _retry(HTTPStatus.SERVICE_UNAVAILABLE))


def _retry(status: HTTPStatus) -> dict[str, str]:
    return {"Retry-After": "30"} if status is HTTPStatus.SERVICE_UNAVAILABLE else {}


def _refusal(status: HTTPStatus, words: str, headers: Mapping[str, str] | None = None) -> Response:
    return PlainTextResponse(words, status, dict(headers or {}))
