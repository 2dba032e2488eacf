"""UPS-RS over HTTP (PS3.18 section 11): WhyRay's own worklist for requesters and other performers.

No events are sent: whoever wants to know of changes retrieves or searches again.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from whyray.base.errors import NotFound, WhyRayError, WorkitemConflict, WorkitemInvalid
from whyray.catalog import WorkitemState
from whyray.worklist.matching import parse_search
from whyray.worklist.own import OwnWorklist
from whyray.worklist.workitem import from_json, to_json, uid_of

PATH = "/dicom-web/workitems"
Admit = Callable[[Request], Awaitable[str | Response]]
"""Who asks: a name, or the response that turns the request away."""

_JSON = "application/dicom+json"
_READABLE = (_JSON, "application/json")
_LARGEST = 4 << 20
_STATUSES: tuple[tuple[type[WhyRayError], HTTPStatus], ...] = (
    (NotFound, HTTPStatus.NOT_FOUND),
    (WorkitemInvalid, HTTPStatus.BAD_REQUEST),
    (WorkitemConflict, HTTPStatus.CONFLICT),
)
_INSTEAD = "subscriptions are not offered: retrieve the workitem or search again"
_log = logging.getLogger("whyray.worklist")


def worklist_routes(worklist: OwnWorklist, admit: Admit, is_on: Callable[[], bool]) -> list[Route]:
    """The resources of PS3.18 table 11.1.1-1, each behind `admit`; 404 while `is_on` says no."""
    web = _Web(worklist, admit, is_on)
    one = PATH + "/{workitem}"
    return [
        Route(PATH, web.guarded(web.create), methods=["POST"]),
        Route(PATH, web.guarded(web.search), methods=["GET"]),
        Route(one, web.guarded(web.retrieve), methods=["GET"]),
        Route(one, web.guarded(web.update), methods=["POST"]),
        # the AE title at the end is of earlier editions of the standard
        Route(one + "/state", web.guarded(web.change_state), methods=["PUT"]),
        Route(one + "/state/{requester}", web.guarded(web.change_state), methods=["PUT"]),
        Route(one + "/cancelrequest", web.guarded(web.request_cancel), methods=["POST"]),
        Route(one + "/cancelrequest/{requester}", web.guarded(web.request_cancel), methods=["POST"]),
        Route(one + "/subscribers/{subscriber}", web.guarded(web.subscribe), methods=["POST", "DELETE"]),
    ]


Handler = Callable[[Request], Awaitable[Response]]


class _Web:
    def __init__(self, worklist: OwnWorklist, admit: Admit, is_on: Callable[[], bool]) -> None:
        self._worklist, self._admit, self._is_on = worklist, admit, is_on

    def guarded(self, handler: Handler) -> Handler:
        """The handler behind the log-in, with WhyRay's errors turned into statuses."""

        async def handle(request: Request) -> Response:
            admitted = await self._admit(request)
            if isinstance(admitted, Response):
                return admitted
            if not self._is_on():
                return PlainTextResponse("there is no worklist here", HTTPStatus.NOT_FOUND)
            try:
                return await handler(request)
            except ClientDisconnect:
                return PlainTextResponse("the client went away", HTTPStatus.BAD_REQUEST)
            except WhyRayError as error:
                status = next((status for kind, status in _STATUSES if isinstance(error, kind)), None)
                if status is None:
                    _log.error("the worklist could not answer: %s: %s", error.code, error.message)
                    status = HTTPStatus.SERVICE_UNAVAILABLE if error.retriable else HTTPStatus.INTERNAL_SERVER_ERROR
                warning = {"Warning": f'299 - "{error.message}"'.encode("ascii", "replace").decode()}
                return PlainTextResponse(error.message, status, warning)

        return handle

    async def create(self, request: Request) -> Response:
        """Create Workitem, section 11.4."""
        workitem = from_json(await _body(request))
        # `?workitem=UID`, `?AffectedSOPInstanceUID=UID` and `?UID` are the spellings of different editions
        uid = _named(request, "workitem", "AffectedSOPInstanceUID")
        made = await run_in_threadpool(self._worklist.create, workitem, uid)
        where = f"{PATH}/{made}"
        return Response(status_code=HTTPStatus.CREATED, headers={"Location": where, "Content-Location": where})

    async def retrieve(self, request: Request) -> Response:
        """Retrieve Workitem, section 11.5."""
        workitem = await run_in_threadpool(self._worklist.retrieve, _uid(request))
        return Response(to_json([workitem]), media_type=_JSON, headers={"Cache-Control": "no-store"})

    async def search(self, request: Request) -> Response:
        """Search, section 11.9; every match is given whole."""
        wanted = parse_search(request.query_params.multi_items())
        known = {state.value for state in WorkitemState}
        states = [WorkitemState(state) for state in wanted.states if state in known]
        matching = wanted.among(await run_in_threadpool(self._worklist.all, states))
        if not matching:
            return Response(status_code=HTTPStatus.NO_CONTENT)
        more = len(matching) > wanted.limit
        headers = {"Cache-Control": "no-store"}
        if more:
            headers["Warning"] = '299 - "There are additional results that can be requested"'
        return Response(to_json(matching[: wanted.limit]), media_type=_JSON, headers=headers)

    async def update(self, request: Request) -> Response:
        """Update Workitem, section 11.6."""
        changes = from_json(await _body(request))
        within = changes.get("TransactionUID")
        if "TransactionUID" in changes:
            del changes.TransactionUID
        transaction = _named(request, "transaction-uid", "transaction") or (str(within) if within else None)
        await run_in_threadpool(self._worklist.update, _uid(request), transaction, changes)
        return Response(status_code=HTTPStatus.OK)

    async def change_state(self, request: Request) -> Response:
        """Change Workitem State, section 11.7."""
        wanted = from_json(await _body(request))
        transaction = uid_of(wanted.get("TransactionUID"), "Transaction UID")
        try:
            state = WorkitemState(str(wanted.get("ProcedureStepState")))
        except ValueError:
            raise WorkitemInvalid("Procedure Step State is IN PROGRESS, COMPLETED or CANCELED") from None
        await run_in_threadpool(self._worklist.change_state, _uid(request), state, transaction)
        return Response(status_code=HTTPStatus.OK)

    async def request_cancel(self, request: Request) -> Response:
        """Request Cancellation, section 11.8."""
        body = await _body(request, may_be_empty=True)
        reason = str(from_json(body).get("ReasonForCancellation") or "") if body else ""
        await run_in_threadpool(self._worklist.request_cancel, _uid(request), reason)
        return Response(status_code=HTTPStatus.ACCEPTED)

    async def subscribe(self, _: Request) -> Response:
        """Subscriptions, sections 11.10 to 11.12."""
        return PlainTextResponse(_INSTEAD, HTTPStatus.NOT_IMPLEMENTED)


def _uid(request: Request) -> str:
    return uid_of(request.path_params["workitem"], "workitem's UID")


def _named(request: Request, *names: str) -> str | None:
    for name in names:
        if value := request.query_params.get(name):
            return uid_of(value, name)
    bare = [name for name, value in request.query_params.items() if not value]
    return uid_of(bare[0], names[0]) if bare else None


async def _body(request: Request, *, may_be_empty: bool = False) -> bytes:
    held = bytearray()
    async for piece in request.stream():
        held += piece
        if len(held) > _LARGEST:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {_LARGEST} bytes")
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in _READABLE and not (may_be_empty and not held):
        raise WorkitemInvalid(f"send {_JSON}")
    return bytes(held)


__all__ = ["PATH", "Admit", "worklist_routes"]
