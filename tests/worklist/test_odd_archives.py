"""Archives that give images by WADO-RS in their own ways, and such as lead elsewhere."""

from __future__ import annotations

import gzip
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from pydicom import Dataset

from intake.web import BOUNDARY, multipart, part10
from site_under_test import film, site
from whyray.base.errors import ImageError, PeerBusy, PeerRefused, PeerUnreachable
from whyray.config import DicomWebDestination, Secret
from whyray.intake import StoreRequest
from whyray.worklist.fetch import fetch
from whyray.worklist.workitem import Input
from worklist.conftest import Served

__all__ = ["site"]

MULTIPART = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
TOKEN = Secret({"env": "TOKEN"}, SecretStr("0123456789abcdef-archive"))
IMAGE = film(1)
BODY = multipart(part10(IMAGE))


class Archive:
    """Answers all that it is asked with the same, and keeps what it was asked."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        archive = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                archive.asked.append((self.path, dict(self.headers)))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/dicom-web"


@pytest.fixture
def archive() -> Iterator[Callable[..., Archive]]:
    """A factory of archives."""
    started: list[Archive] = []

    def start(status: int = 200, headers: dict[str, str] | None = None, body: bytes = BODY) -> Archive:
        started.append(Archive(status, {"Content-Type": MULTIPART} | (headers or {}), body))
        return started[-1]

    yield start
    for one in started:
        one.server.shutdown()
        one.server.server_close()


def fetched(served: Served, url: str, image: Dataset = IMAGE, **settings: object) -> set[str]:
    service = DicomWebDestination(**{"url": url, "token": TOKEN} | settings)  # type: ignore[arg-type]
    wanted = Input(str(image.StudyInstanceUID), str(image.SeriesInstanceUID), ())
    return fetch(service, "archive", wanted, served.scp.fetched)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, BODY),
        ({"Content-Type": f'Multipart/Related;boundary="{BOUNDARY}";type=application/dicom'}, BODY),
        (
            {"Content-Type": f'multipart/related; type="application/dicom; transfer-syntax=*"; boundary={BOUNDARY}'},
            BODY,
        ),
        ({"Content-Encoding": "gzip"}, gzip.compress(BODY)),
        ({}, b"\r\n" + BODY + b"an epilogue"),
        ({}, BODY.replace(b"Content-Type: application/dicom\r\n", b"Content-Type: application/dicom;a=b\r\nX: y\r\n")),
        ({"Content-Type": "application/dicom"}, part10(IMAGE)),
        ({"Content-Type": "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"}, part10(IMAGE)),
    ],
)
def test_images_are_taken_in_whichever_form_they_are_given(
    served: Served, archive: Callable[..., Archive], headers: dict[str, str], body: bytes
) -> None:
    giving = archive(headers=headers, body=body)
    assert fetched(served, giving.url) == {IMAGE.SOPInstanceUID}
    ((path, sent),) = giving.asked
    assert path == f"/dicom-web/studies/{IMAGE.StudyInstanceUID}/series/{IMAGE.SeriesInstanceUID}"
    assert sent["Accept"] == 'multipart/related; type="application/dicom"; transfer-syntax=*'


@pytest.mark.parametrize(("seconds", "borne"), [(0.1, True), (3600.0, False)], ids=["fast", "a piece an hour"])
def test_an_answer_that_trickles_is_given_up_and_asked_for_again_later(
    served: Served, archive: Callable[..., Archive], seconds: float, borne: bool
) -> None:
    """Each byte began the time-out anew, and all other workitems waited."""
    large = film(1, study="trickled")
    large.PixelData = bytes(1 << 20)
    large.Rows, large.Columns = 1024, 512
    times = itertools.count(0, seconds)
    service = DicomWebDestination(url=archive(body=multipart(part10(large))).url, token=TOKEN)
    wanted = Input(str(large.StudyInstanceUID), str(large.SeriesInstanceUID), ())
    if borne:
        assert fetch(service, "archive", wanted, served.scp.fetched, clock=lambda: next(times)) == {
            large.SOPInstanceUID
        }
    else:
        with pytest.raises(PeerUnreachable, match="slower than 4096 bytes a second"):
            fetch(service, "archive", wanted, served.scp.fetched, clock=lambda: next(times))


@dataclass
class Moments:
    """A clock, and an archive that gives an answer in pieces at moments of it: seconds to wait for each, and it."""

    pieces: Sequence[tuple[float, bytes]]
    headers_after: float = 0.0
    storing_takes: float = 0.0
    now: float = 0.0

    def answer(self, _: httpx.Request) -> httpx.Response:
        self.now += self.headers_after
        return httpx.Response(200, headers={"Content-Type": MULTIPART}, content=self._body())

    def _body(self) -> Iterator[bytes]:
        for waited, piece in self.pieces:
            self.now += waited
            yield piece

    def fetched(self, served: Served, image: Dataset, monkeypatch: pytest.MonkeyPatch) -> set[str]:
        def client(service: DicomWebDestination) -> httpx.Client:
            return httpx.Client(base_url=service.url, transport=httpx.MockTransport(self.answer))

        def keep(name: str, study_uid: str) -> StoreRequest:
            store = served.scp.fetched(name, study_uid)
            taken = store.data

            def data(piece: bytes) -> None:
                self.now += self.storing_takes
                taken(piece)

            monkeypatch.setattr(store, "data", data)
            return store

        monkeypatch.setattr("whyray.worklist.fetch.web_client", client)
        service = DicomWebDestination(url="http://archive/dicom-web", timeout=timedelta(seconds=30))
        wanted = Input(str(image.StudyInstanceUID), str(image.SeriesInstanceUID), ())
        return fetch(service, "archive", wanted, keep, clock=lambda: self.now)


def large_film(study: str) -> Dataset:
    """Of 100 KiB: less than an archive has to give within its time-out."""
    made = film(1, study=study)
    made.Rows, made.Columns, made.PixelData = 200, 256, bytes(2 * 200 * 256)
    return made


def cut(body: bytes, *waits: float) -> list[tuple[float, bytes]]:
    """A body in so many pieces of one size, but for its closing boundary, which is the last."""
    pieces, size = len(waits) - 1, -(-(len(body) - 40) // (len(waits) - 1))
    content = [body[:-40][number * size : (number + 1) * size] for number in range(pieces)]
    return list(zip(waits, [*content, body[-40:]], strict=True))


@pytest.mark.parametrize(
    ("waits", "others"),
    [
        ((20, 0), {"headers_after": 20}),
        ((0, 0, 0, 0, 0), {"storing_takes": 31}),
        ((0, 0, 0, 0, 0), {"storing_takes": 3600}),
        ((0, 3600, 0), {}),
        ((0, 40, 0, 0, 0, 0, 0, 0), {}),
        ((0, 0, 3600), {}),
        ((20, 20, 40, 20), {"headers_after": 20}),
    ],
    ids=[
        "a slow beginning",
        "a slow disk",
        "a very slow disk",
        "the last of the images after a while",
        "one halt",
        "the end after a while",
        "a slow beginning and a halt before the end",
    ],
)
def test_a_whole_answer_is_taken_where_only_its_beginning_or_our_own_storage_was_slow(
    served: Served, monkeypatch: pytest.MonkeyPatch, waits: tuple[float, ...], others: dict[str, float]
) -> None:
    """It was refused as too slow, at every attempt anew."""
    image = large_film("slow")
    moments = Moments(cut(multipart(part10(image)), *waits), **others)
    assert moments.fetched(served, image, monkeypatch) == {image.SOPInstanceUID}


def test_a_fast_beginning_is_no_leave_to_trickle_on(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    image = large_film("fast")
    moments = Moments([(0, multipart(part10(image))[:-1000]), *[(2, b"\0")] * 900])
    with pytest.raises(PeerUnreachable, match="slower than 4096 bytes a second"):
        moments.fetched(served, image, monkeypatch)
    assert moments.now < 200


def test_nothing_to_give_is_nothing_given(served: Served, archive: Callable[..., Archive]) -> None:
    assert fetched(served, archive(204, {}, b"").url) == set()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_told_and_not_followed_so_that_no_token_goes_elsewhere(
    served: Served, archive: Callable[..., Archive], status: int
) -> None:
    elsewhere = archive()
    leading = archive(status, {"Location": elsewhere.url.replace("127.0.0.1", "localhost")}, b"")
    with pytest.raises(PeerRefused, match=f"HTTP {status}") as refused:
        fetched(served, leading.url)
    assert "leads elsewhere" in refused.value.advice
    assert elsewhere.asked == []


@pytest.mark.parametrize(
    ("status", "headers", "body", "error"),
    [
        (401, {}, b"", PeerRefused),
        (404, {}, b"", PeerRefused),
        (406, {}, b"", PeerRefused),
        (503, {"Retry-After": "90"}, b"", PeerUnreachable),
        (429, {"Retry-After": "90"}, b"", PeerBusy),
        (206, {}, BODY, PeerBusy),
        (200, {"Content-Type": "text/html"}, b"<html>log in</html>", ImageError),
        (200, {"Content-Type": "application/dicom+json"}, b"[]", ImageError),
        (200, {"Content-Type": "multipart/related"}, BODY, ImageError),
        (200, {"Content-Encoding": "gzip"}, BODY, PeerUnreachable),
        (200, {}, BODY[:-40], PeerUnreachable),
        (200, {"Content-Type": "application/dicom"}, b"", PeerUnreachable),
        (200, {"Content-Type": "application/dicom"}, part10(IMAGE)[:300], ImageError),
        (200, {}, multipart(b"no DICOM"), ImageError),
        (200, {}, multipart(part10(film(2, study="another"))), ImageError),
    ],
)
def test_what_can_not_be_had_is_told_by_whether_it_may_pass(
    served: Served,
    archive: Callable[..., Archive],
    status: int,
    headers: dict[str, str],
    body: bytes,
    error: type[Exception],
) -> None:
    with pytest.raises(error) as failed:
        fetched(served, archive(status, headers, body).url)
    if "Retry-After" in headers:
        assert failed.value.not_within == timedelta(seconds=90)  # type: ignore[attr-defined]


def test_authorities_that_can_not_be_read_are_waited_for(served: Served, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    for file in (tmp_path / "empty.pem", tmp_path / "missing.pem"):
        with pytest.raises(PeerUnreachable, match="can't be used for TLS"):
            fetched(served, "https://127.0.0.1:9/dicom-web", ca_file=file)
