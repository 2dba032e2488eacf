"""STOW-RS to Orthanc's DICOMweb, and to a service that answers as it is told."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.parser import BytesParser
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from random import Random

import httpx
import pytest
from pydantic import SecretStr
from pydicom import dcmread

from delivery_site import PATIENT, DeliverySite
from peers import OrthancServer, free_port
from whyray.base.errors import PeerBusy, PeerRefused, PeerUnreachable
from whyray.base.retry import JITTER, retry_after
from whyray.catalog import DeliveryState
from whyray.config import DicomWebDestination, Retry, Secret
from whyray.delivery import Caller, asked_wait, echo, send_files
from whyray.delivery.store_answers import StoreAnswers, read_answers

Answer = tuple[int, object] | tuple[int, object, dict[str, str]]
"""HTTP status, body (bytes as they are, all else as JSON) and headers."""


@dataclass
class WebService:
    """What it was posted (SOP Instance UIDs a request) and the answer that it gives."""

    url: str
    answer: Callable[[list[str]], Answer]
    requests: list[list[str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    syntaxes: list[list[tuple[str, str]]] = field(default_factory=list)
    """(SOP Instance UID, Transfer Syntax UID) of each part, by request."""
    date: str = ""
    """What its clock shows, where it is wrong."""

    def destination(self, **options: object) -> DicomWebDestination:
        return DicomWebDestination(
            **{"url": self.url, "retry": PATIENT, "timeout": timedelta(seconds=5)} | options  # type: ignore[arg-type]
        )


@pytest.fixture
def web() -> Iterator[Callable[[Callable[[list[str]], Answer]], WebService]]:
    """A factory of DICOMweb services that answer STOW-RS as `answer(uids)` says."""
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Callable[[list[str]], Answer]) -> WebService:
        service = WebService("", answer)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
                parts = BytesParser().parsebytes(head + body).get_payload()
                objects = [dcmread(BytesIO(part.get_payload(decode=True))) for part in parts]  # type: ignore[union-attr,arg-type]
                uids = [str(dataset.SOPInstanceUID) for dataset in objects]
                service.syntaxes.append(
                    [(str(dataset.SOPInstanceUID), str(dataset.file_meta.TransferSyntaxUID)) for dataset in objects]
                )
                service.requests.append(uids)
                service.headers.append(dict(self.headers))
                self._say(*service.answer(uids))

            def do_GET(self) -> None:
                self._say(*service.answer([]))

            def _say(self, status: int, said: object, headers: dict[str, str] | None = None) -> None:
                content = b"" if said is None else said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response_only(status)
                for name, value in ({"Content-Type": "application/dicom+json"} | (headers or {})).items():
                    self.send_header(name, value)
                self.send_header("Date", service.date or self.date_time_string())
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        service.url = f"http://127.0.0.1:{server.server_port}/dicom-web"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return service

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def listed(stored: list[str], failed: dict[str, int], warned: dict[str, int] | None = None) -> object:
    """A Store Instances Response in DICOM JSON."""

    def item(uid: str, tag: str = "", reason: int | None = None) -> dict[str, object]:
        reference: dict[str, object] = {
            "00081150": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
            "00081155": {"vr": "UI", "Value": [uid]},
        }
        return reference | ({tag: {"vr": "US", "Value": [reason]}} if reason is not None else {})

    answer = {}
    if stored:
        items = [item(uid, "00081196", (warned or {}).get(uid)) for uid in stored]
        answer["00081199"] = {"vr": "SQ", "Value": items}
    if failed:
        answer["00081198"] = {"vr": "SQ", "Value": [item(uid, "00081197", why) for uid, why in failed.items()]}
    return answer


def test_orthanc_holds_what_it_was_given_by_stow(
    site: DeliverySite, shared_orthanc: OrthancServer, images: list[Path]
) -> None:
    uids = site.results(images, "web")
    destination = DicomWebDestination(url=shared_orthanc.dicomweb_url)
    with site.delivering({"web": destination}):
        rows = site.until_state("web", DeliveryState.SENT)
    assert {row.status for row in rows} == {200}
    held = shared_orthanc.instances()
    assert set(uids) <= set(held)
    for path in images:
        original = dcmread(path)
        assert dcmread(BytesIO(shared_orthanc.file(held[str(original.SOPInstanceUID)]))) == original
    assert echo(destination, Caller()).status == 200


def test_each_instance_gets_the_status_that_the_response_gives_it(
    site: DeliverySite, web: Callable[..., WebService], images: list[Path]
) -> None:
    uids = site.results(images[:5], "web")

    def answer(sent: list[str]) -> Answer:
        return 202, listed([uids[0], uids[1]], {uids[2]: 0xA700, uids[3]: 0x0122}, {uids[1]: 0xB000})

    with site.delivering({"web": web(answer).destination()}):
        rows = site.until_settled("web")
    assert [row.state for row in rows] == [
        DeliveryState.SENT,
        DeliveryState.SENT,
        DeliveryState.WAITING,
        DeliveryState.FAILED,
        DeliveryState.WAITING,
    ]
    assert [row.status for row in rows] == [202, 0xB000, 0xA700, 0x0122, 202]
    assert "said nothing of" in (rows[4].error_message or "")


def test_a_duplicate_counts_as_stored_as_by_c_store_and_a_failure_without_reason_is_called_no_success(
    site: DeliverySite, web: Callable[..., WebService], images: list[Path]
) -> None:
    uids = site.results(images[:4], "web")
    said = listed([], {uids[0]: 0x0111, uids[1]: 0, uids[2]: 0xB007, uids[3]: 0xB00E})
    del said["00081198"]["Value"][1]["00081197"]  # type: ignore[index]
    with site.delivering({"web": web(lambda _: (409, said)).destination()}):
        rows = site.until_settled("web")
    sent, failed = DeliveryState.SENT, DeliveryState.FAILED
    assert [row.state for row in rows] == [sent, failed, failed, sent]
    assert [row.status for row in rows] == [0x0111, 409, 0xB007, 0xB00E]
    assert "without a Failure Reason" in (rows[1].error_message or "")
    assert not any("Success" in (row.error_message or "") for row in rows)


@pytest.mark.parametrize(
    ("http", "state", "code"),
    [
        (401, DeliveryState.FAILED, "PeerRefused"),
        (404, DeliveryState.FAILED, "PeerRefused"),
        (308, DeliveryState.FAILED, "PeerRefused"),
        (429, DeliveryState.WAITING, "PeerBusy"),
        (500, DeliveryState.WAITING, "PeerBusy"),
        (503, DeliveryState.WAITING, "PeerUnreachable"),
    ],
)
def test_an_answer_for_all_is_obeyed_by_its_http_status(
    site: DeliverySite, web: Callable[..., WebService], images: list[Path], http: int, state: DeliveryState, code: str
) -> None:
    site.results(images[:2], "web")
    with site.delivering({"web": web(lambda _: (http, None)).destination()}):
        rows = site.until_settled("web")
    assert {row.state for row in rows} == {state}
    assert {row.error_code for row in rows} == {code}
    assert all(f"HTTP {http}" in (row.error_message or "") for row in rows)


ASKED = timedelta(minutes=12)


@pytest.mark.parametrize("form", ["seconds", "HTTP date"])
@pytest.mark.parametrize("http", [429, 503, 202])
def test_a_service_that_asks_to_be_left_alone_is_left_alone_so_long(
    site: DeliverySite, web: Callable[..., WebService], images: list[Path], http: int, form: str
) -> None:
    (uid,) = site.results(images[:1], "web")
    # its clock is not ours: the date is meant by the one that it shows
    date = format_datetime(datetime(2001, 1, 1, tzinfo=UTC) + ASKED, usegmt=True)
    headers = {"Retry-After": str(int(ASKED.total_seconds())) if form == "seconds" else date}

    def answer(_: list[str]) -> Answer:
        return http, listed([], {uid: 0xA700}) if http == 202 else None, headers

    service = web(answer)
    service.date = "Mon, 01 Jan 2001 00:00:00 GMT"
    with site.delivering({"web": service.destination(retry=Retry(delay=timedelta(seconds=1)))}):
        (row,) = site.until_state("web", DeliveryState.WAITING)
    assert row.not_before is not None
    assert ASKED <= row.not_before - site.clock() <= ASKED * 1.3
    assert len(service.requests) == 1


def test_no_wait_that_a_service_asks_for_is_longer_than_the_ceiling_or_shorter_than_the_back_off() -> None:
    policy = Retry(delay=timedelta(seconds=20), ceiling=timedelta(minutes=5))
    for asked, expected in ((3, 20), (100, 100), (86400, 300), (None, 20)):
        error = PeerBusy("later", not_within=None if asked is None else timedelta(seconds=asked))
        wait = retry_after(error, 1, policy, Random(7))
        assert wait is not None
        assert expected <= wait.total_seconds() <= expected * (1 + JITTER)


@pytest.mark.parametrize("value", ["", "soon", "-5", "1.5", "Mon, 99 Foo 2026", "9" * 400, "١٢"])
def test_a_retry_after_that_is_none_is_passed_over_and_no_number_is_too_large(value: str) -> None:
    wait = asked_wait(httpx.Headers({"Retry-After": value.encode()}))  # type: ignore[dict-item]
    assert wait is None or value.startswith("9")


def xml(stored: list[str], failed: dict[str, int], prefix: str = "") -> bytes:
    """A Store Instances Response in XML; with `prefix`, its elements have that of the namespace."""

    def item(number: int, uid: str, reason: int | None = None) -> str:
        why = f'<DicomAttribute tag="00081197" vr="US"><Value number="1">{reason}</Value></DicomAttribute>'
        return (
            f'<Item number="{number}"><DicomAttribute tag="00081155" vr="UI" keyword="ReferencedSOPInstanceUID">'
            f'<Value number="1">{uid}</Value></DicomAttribute>{why if reason is not None else ""}</Item>'
        )

    items = "".join(item(number, uid) for number, uid in enumerate(stored, 1))
    others = "".join(item(number, *one) for number, one in enumerate(failed.items(), 1))
    body = (
        '<DicomAttribute tag="00081190" vr="UR"/>'
        f'<DicomAttribute tag="00081199" vr="SQ" keyword="ReferencedSOPSequence">{items}</DicomAttribute>'
        f'<DicomAttribute tag="00081198" vr="SQ" keyword="FailedSOPSequence">{others}</DicomAttribute>'
    )
    root = f'<NativeDicomModel xml:space="preserve">{body}</NativeDicomModel>'
    if prefix:
        root = re.sub(r"<(/?)(\w)", rf"<\1{prefix}:\2", root)
        namespace = f' xmlns:{prefix}="http://dicom.nema.org/PS3.19/models/NativeDICOM"'
        root = root.replace(f"<{prefix}:NativeDicomModel", f"<{prefix}:NativeDicomModel{namespace}")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{root}'.encode()


@pytest.mark.parametrize("prefix", ["", "dcm"])
def test_a_service_that_speaks_xml_alone_is_understood_instance_by_instance(
    site: DeliverySite, web: Callable[..., WebService], images: list[Path], prefix: str
) -> None:
    uids = site.results(images[:3], "web")
    service = web(lambda _: (202, xml(uids[:1], {uids[1]: 0xA700, uids[2]: 0xC000}, prefix)))
    refusing = service.answer

    def answer(sent: list[str]) -> Answer:
        return refusing(sent) if service.headers[-1]["Accept"] == "application/dicom+xml" else (406, None)

    service.answer = answer
    with site.delivering({"web": service.destination()}):
        rows = site.until_settled("web")
    assert [row.state for row in rows] == [DeliveryState.SENT, DeliveryState.WAITING, DeliveryState.FAILED]
    assert [row.status for row in rows] == [202, 0xA700, 0xC000]


def test_one_item_that_can_not_be_read_takes_no_other_answer_with_it(
    site: DeliverySite, web: Callable[..., WebService], images: list[Path]
) -> None:
    uids = site.results(images[:3], "web")
    said = listed(uids[:2], {uids[2]: 0x0122})
    items = said["00081199"]["Value"]  # type: ignore[index]
    del items[0]["00081155"]
    items.append({"00081155": {"vr": "UI", "Value": [1.5]}, "00081196": {"vr": "US", "Value": ["many"]}})
    said["00091001"] = {"vr": "SQ", "Value": "none"}  # type: ignore[index]
    with site.delivering({"web": web(lambda _: (202, said)).destination()}):
        rows = site.until_settled("web")
    assert [row.state for row in rows] == [DeliveryState.WAITING, DeliveryState.SENT, DeliveryState.FAILED]


@pytest.mark.parametrize("http", [200, 202, 409])
def test_a_failure_of_an_object_that_the_service_could_not_name_is_laid_at_the_right_one(
    site: DeliverySite, web: Callable[..., WebService], images: list[Path], http: int
) -> None:
    uids = site.results(images[:5], "web")
    odd = {uids[1], uids[3]}

    def answer(sent: list[str]) -> Answer:
        said = listed([uid for uid in sent if uid not in odd], {})
        reasons = [{"00081197": {"vr": "US", "Value": [0xC000]}} for uid in sent if uid in odd]
        if reasons:
            said["0008119A"] = {"vr": "SQ", "Value": reasons}  # type: ignore[index]
        return http, said

    with site.delivering({"web": web(answer).destination()}):
        rows = site.until_settled("web")
    failed, sent = DeliveryState.FAILED, DeliveryState.SENT
    assert [row.state for row in rows] == [failed if uid in odd else sent for uid in uids]
    assert {row.status for row in rows if row.state is failed} == {0xC000}


@pytest.mark.parametrize(
    "body",
    [
        b"<html><body>Welcome</body></html>",
        b"<NativeDicomModel>",
        b"<!DOCTYPE x [<!ENTITY a 'aaaa'>]><NativeDicomModel>&a;</NativeDicomModel>",
        b"<NativeDicomModel>" + b"<Item>" * 100_000,
        b'<?xml version="1.0" encoding="utf-16"?><NativeDicomModel/>',
        b"[]",
        b"[[]]",
        b"7",
        b"\xff\xfe{",
    ],
)
def test_a_body_that_is_no_answer_says_nothing_of_any_instance(body: bytes) -> None:
    assert read_answers(body) == StoreAnswers()


def test_a_200_that_names_no_instance_is_no_promise(
    site: DeliverySite, web: Callable[..., WebService], images: list[Path]
) -> None:
    site.results(images[:2], "web")
    with site.delivering({"web": web(lambda _: (200, listed([], {}))).destination()}):
        rows = site.until_state("web", DeliveryState.WAITING)
    assert {row.error_code for row in rows} == {"PeerBusy"}


def test_one_bad_object_does_not_condemn_the_request_that_it_is_in(
    site: DeliverySite, web: Callable[..., WebService], images: list[Path]
) -> None:
    uids = site.results(images, "web")
    service = web(lambda sent: (400, None) if uids[5] in sent else (200, listed(sent, {})))
    with site.delivering({"web": service.destination()}):
        rows = site.until_settled("web")
    assert [row.state for row in rows] == [
        DeliveryState.FAILED if uid == uids[5] else DeliveryState.SENT for uid in uids
    ]
    assert rows[5].status == 400


def test_the_token_is_sent_and_an_unreachable_service_is_tried_again(
    site: DeliverySite, web: Callable[..., WebService], images: list[Path]
) -> None:
    service = web(lambda sent: (200, listed(sent, {})))
    token = Secret({"env": "TOKEN"}, SecretStr("s3cret"))
    site.results(images[:1], "web", "nowhere")
    nowhere = DicomWebDestination(url=f"http://127.0.0.1:{free_port()}/dicom-web", retry=PATIENT)
    with site.delivering({"web": service.destination(token=token), "nowhere": nowhere}):
        site.until_state("web", DeliveryState.SENT)
        (row,) = site.until_state("nowhere", DeliveryState.WAITING)
    assert service.headers[0]["Authorization"] == "Bearer s3cret"
    assert row.error_code == "PeerUnreachable"
    assert "s3cret" not in repr(service.destination(token=token))


def test_echo_of_a_web_service_fails_as_a_delivery_would(web: Callable[..., WebService]) -> None:
    for http, error in ((302, PeerRefused), (403, PeerRefused), (500, PeerBusy), (504, PeerUnreachable)):
        with pytest.raises(error, match=f"HTTP {http}"):
            echo(web(lambda _, http=http: (http, None)).destination(), Caller())
    assert echo(web(lambda _: (204, None)).destination(), Caller()).status == 204


def test_files_are_sent_to_a_web_service_with_an_outcome_each(
    web: Callable[..., WebService], images: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("no DICOM")
    service = web(lambda sent: (200, listed(sent, {})))
    outcomes = send_files([*images[:2], tmp_path], service.destination())
    assert [outcome.stored for outcome in outcomes] == [True, True, False]
