"""Somebody else's worklist, as odd as it may be: what can be read of its list is read."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from site_under_test import film
from whyray.base.errors import PeerBusy, WorkitemInvalid
from whyray.config import Worklist
from whyray.worklist import Code, RemoteWorklist
from worklist.conftest import TASK, workitem

Answer = Callable[[dict[str, str]], tuple[int, object]]
"""Query parameters → HTTP status and body, as JSON where it is no bytes."""


@pytest.fixture
def worklist_that() -> Iterator[Callable[[Answer], RemoteWorklist]]:
    """A worklist that answers searches as it is told."""
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Answer) -> RemoteWorklist:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
                status, said = answer(query)
                body = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/dicom+json")
                self.send_header("Retry-After", "120")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{servers[-1].server_port}/dicom-web"
        return RemoteWorklist("ris", Worklist(take=(TASK,), url=url))

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def found(worklist: RemoteWorklist) -> list[str]:
    return [str(one.SOPInstanceUID) for one in worklist.find([Code(TASK.code, TASK.scheme)])]


def listed(number: int) -> dict[str, object]:
    return workitem(film(), uid=f"1.2.3.{number}").to_json_dict()


UNREADABLE: list[object] = [
    {"00080018": {"vr": "UI", "Value": ["1.2.9"]}, "00741000": {"vr": "CS", "Value": 7}},
    {"00080018": {"vr": "UI", "Value": ["1.2.9"]}, "00404021": {"vr": "SQ", "Value": ["x"]}},
    {"not a tag": {"vr": "UI"}},
    {"00080018": {"vr": "UI", "Value": ["Doe^Secret"]}, "00404005": {"vr": "DS", "Value": ["Doe^Secret"]}},
    "a text",
    7,
    None,
    [],
]


@pytest.mark.parametrize("unreadable", UNREADABLE, ids=lambda one: str(one)[:20])
def test_a_workitem_that_can_not_be_read_takes_no_other_with_it(
    worklist_that: Callable[[Answer], RemoteWorklist], caplog: pytest.LogCaptureFixture, unreadable: object
) -> None:
    worklist = worklist_that(lambda _: (200, [listed(1), unreadable, listed(2)]))
    assert found(worklist) == ["1.2.3.1", "1.2.3.2"]
    (said,) = [record.getMessage() for record in caplog.records if record.name == "whyray.worklist"]
    assert "passed over" in said
    assert "Secret" not in said


def test_a_body_that_is_no_json_is_named(worklist_that: Callable[[Answer], RemoteWorklist]) -> None:
    with pytest.raises(WorkitemInvalid, match="JSON"):
        found(worklist_that(lambda _: (200, b"<html/>")))


@pytest.mark.parametrize("own_limit", [50, 7], ids=["full pages", "206 of seven"])
def test_a_list_longer_than_one_answer_is_read_to_its_end(
    worklist_that: Callable[[Answer], RemoteWorklist], own_limit: int
) -> None:
    everything = [listed(number) for number in range(120)]

    def answer(query: dict[str, str]) -> tuple[int, object]:
        begin = int(query.get("offset", 0))
        page = everything[begin : begin + min(own_limit, int(query["limit"]))]
        return (206 if own_limit < 50 and begin + len(page) < 120 else 200), page

    assert found(worklist_that(answer)) == [f"1.2.3.{number}" for number in range(120)]


def test_a_worklist_that_knows_no_offset_gives_each_workitem_once(
    worklist_that: Callable[[Answer], RemoteWorklist],
) -> None:
    asked = []

    def answer(query: dict[str, str]) -> tuple[int, object]:
        asked.append(query)
        return 200, [listed(number) for number in range(60)]

    assert found(worklist_that(answer)) == [f"1.2.3.{number}" for number in range(60)]
    assert len(asked) == 2


def test_nothing_found_is_an_empty_list(worklist_that: Callable[[Answer], RemoteWorklist]) -> None:
    assert found(worklist_that(lambda _: (204, b""))) == found(worklist_that(lambda _: (200, []))) == []


def test_a_worklist_that_asks_to_be_left_alone_says_how_long(
    worklist_that: Callable[[Answer], RemoteWorklist],
) -> None:
    with pytest.raises(PeerBusy) as refused:
        found(worklist_that(lambda _: (429, b"")))
    assert refused.value.not_within == timedelta(seconds=120)
