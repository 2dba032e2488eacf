"""Somebody else's worklist by UPS-RS (PS3.18 section 11): asked, claimed from, told."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydicom import Dataset

from whyray.base.errors import NotFound, WorkitemConflict, WorkitemInvalid
from whyray.catalog import WorkitemState
from whyray.config import Worklist
from whyray.delivery import asked_wait, error_of_response, unanswered, web_client, words_of
from whyray.worklist.workitem import Code, from_json, readable_from_json, to_json

if TYPE_CHECKING:
    import httpx

_log = logging.getLogger("whyray.worklist")
_JSON = "application/dicom+json"
_MOST = 50
"""Workitems asked for at a time."""
_MOST_PAGES = 20


@dataclass(frozen=True)
class RemoteWorklist:
    """The service of one entry of `worklists`.

    All methods raise PeerUnreachable, PeerBusy or PeerRefused if the service can't be reached or refuses to talk;
    WorkitemConflict and WorkitemInvalid for its 409 and 400, NotFound for its 404 and 410.
    """

    name: str
    settings: Worklist

    def find(self, codes: Collection[Code]) -> list[Dataset]:
        """Workitems with one of these codes that are scheduled and whose input is ready."""
        return [workitem for code in codes for workitem in self._find(code)]

    def _find(self, code: Code) -> Iterator[Dataset]:
        query = {
            "ProcedureStepState": WorkitemState.SCHEDULED.value,
            "InputReadinessState": "READY",
            "ScheduledWorkitemCodeSequence.CodeValue": code.value,
            "ScheduledWorkitemCodeSequence.CodingSchemeDesignator": code.scheme,
            "limit": str(_MOST),
        }
        seen: set[str] = set()
        offset = 0
        for _ in range(_MOST_PAGES):
            page = {**query, "offset": str(offset)} if offset else query
            answer = self._send("GET", "/workitems", params=page)
            if answer.status_code == HTTPStatus.NO_CONTENT or not answer.content:
                return
            readable, unreadable = readable_from_json(answer.content)
            for uid in unreadable:
                words = "worklist %s: workitem %s is no DICOM JSON, and passed over"
                _log.warning(words, self.name, uid or "without UID")
            yield from (workitem for workitem in readable if _uid(workitem) not in seen)
            uids = {*map(_uid, readable), *unreadable}
            here = len(readable) + len(unreadable)
            # a service that gives fewer by a limit of its own says so (PS3.18 section 8.3.4.4); one that does not know
            # `offset` gives the same again
            more = here >= _MOST or answer.status_code == HTTPStatus.PARTIAL_CONTENT
            if not more or uids <= seen:
                return
            seen |= uids
            offset += here

    def claim(self, uid: str, transaction_uid: str) -> None:
        """Make it IN PROGRESS under this Transaction UID."""
        self._change_state(uid, transaction_uid, WorkitemState.IN_PROGRESS)

    def retrieve(self, uid: str) -> Dataset:
        """The workitem as it is now."""
        return from_json(self._send("GET", f"/workitems/{uid}").content)

    def update(self, uid: str, transaction_uid: str | None, changes: Dataset) -> None:
        """Change attributes of a workitem that WhyRay has claimed."""
        query = {"transaction-uid": transaction_uid} if transaction_uid else {}
        self._send("POST", f"/workitems/{uid}", params=query, dataset=changes)

    def finish(self, uid: str, transaction_uid: str, state: WorkitemState) -> None:
        """Close it."""
        self._change_state(uid, transaction_uid, state)

    def _change_state(self, uid: str, transaction_uid: str, state: WorkitemState) -> None:
        wanted = Dataset()
        wanted.TransactionUID, wanted.ProcedureStepState = transaction_uid, state.value
        self._send("PUT", f"/workitems/{uid}/state", dataset=wanted)

    def _send(self, method: str, path: str, *, dataset: Dataset | None = None, **options: Any) -> httpx.Response:
        import httpx

        headers = {"Accept": _JSON}
        if dataset is not None:
            headers["Content-Type"], options["content"] = _JSON, to_json([dataset])
        begun = time.monotonic()
        try:
            with web_client(self.settings) as client:
                answer = client.request(method, path, headers=headers, **options)
        except httpx.HTTPError as error:
            raise unanswered(f"worklist {self.name}", error, time.monotonic() - begun) from error
        if answer.is_success:
            return answer
        words = f"worklist {self.name} answered {words_of(answer.status_code)} to {method} {path}"
        if answer.status_code == HTTPStatus.CONFLICT:
            raise WorkitemConflict(words)
        if answer.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
            raise NotFound(words, advice="The worklist has removed it, or its url is wrong.")
        if answer.status_code == HTTPStatus.BAD_REQUEST:
            raise WorkitemInvalid(words)
        raise error_of_response(answer.status_code, f"worklist {self.name}", not_within=asked_wait(answer.headers))


def _uid(workitem: Dataset) -> str:
    return str(workitem.get("SOPInstanceUID") or "")
