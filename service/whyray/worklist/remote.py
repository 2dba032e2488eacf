"""Somebody else's worklist by UPS-RS (PS3.18 section 11): asked, claimed from, told."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydicom import Dataset

from whyray.base.errors import NotFound, WorkitemConflict, WorkitemInvalid
from whyray.catalog import WorkitemState
from whyray.config import Worklist
from whyray.delivery import error_of_response, unanswered, web_client, words_of
from whyray.worklist.workitem import Code, all_from_json, from_json, to_json

if TYPE_CHECKING:
    import httpx

_JSON = "application/dicom+json"
_MOST = 50
"""Workitems asked for at a time."""


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
        workitems: list[Dataset] = []
        for code in codes:
            query = {
                "ProcedureStepState": WorkitemState.SCHEDULED.value,
                "InputReadinessState": "READY",
                "ScheduledWorkitemCodeSequence.CodeValue": code.value,
                "ScheduledWorkitemCodeSequence.CodingSchemeDesignator": code.scheme,
                "limit": str(_MOST),
            }
            answer = self._send("GET", "/workitems", params=query)
            if answer.status_code != HTTPStatus.NO_CONTENT and answer.content:
                workitems += all_from_json(answer.content)
        return workitems

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
        raise error_of_response(answer.status_code, f"worklist {self.name}")
