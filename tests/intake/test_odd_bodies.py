"""STOW-RS bodies as other makers' clients write them, and as none should: by curl, requests and a bare socket."""

from __future__ import annotations

import socket
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from intake.conftest import Running
from intake.scu import small, uid
from intake.web import BOUNDARY, TOKEN, answered, dicomweb, multipart, part10, post, url

Listen = Callable[..., Running]
FILE = part10(small(1))
B = BOUNDARY.encode()


@pytest.fixture
def web(listen: Listen) -> Running:
    """A listener that takes STOW-RS from this machine, without a token."""
    return listen(dicomweb=dicomweb())


def stored(running: Running) -> list[str]:
    return sorted(row.sop_instance_uid for row in running.instances())


BODIES = {
    "a preamble and an epilogue": b"This is MIME.\r\n\r\n" + multipart(FILE) + b"\r\nand so on\r\n--" + B + b"\r\n",
    "no line end after the last boundary": multipart(FILE)[:-2],
    "an empty line before the first boundary": b"\r\n" + multipart(FILE),
    "white space behind boundaries": multipart(FILE).replace(b"--%s\r\n" % B, b"--%s \t \r\n" % B, 1),
    "no content type": multipart(FILE).replace(b"Content-Type: application/dicom\r\n", b""),
    "header names in other cases, and others": multipart(FILE).replace(
        b"Content-Type: application/dicom",
        b"MIME-Version: 1.0\r\ncontent-ID: <1@here>\r\nCONTENT-TYPE:Application/DICOM\r\ncontent-length: %d\r\n"
        b"Content-Location: http://elsewhere/1\r\nContent-Transfer-Encoding: binary" % len(FILE),
    ),
    "a transfer syntax that is not the file's": multipart(
        FILE, content_type="application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50"
    ),
    "a boundary in the middle of a line": multipart(part10(small(1, pixels=b"see --%s\r\n" % B * 2))),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_one_instance_is_taken_however_its_body_is_written(web: Running, body: bytes) -> None:
    response = post(web, body)
    assert (response.status_code, *answered(response)) == (200, [uid("1", 1)], {}, [])
    (row,) = web.instances()
    assert row.transfer_syntax_uid == "1.2.840.10008.1.2.1"


@pytest.mark.parametrize(
    "content_type",
    [
        f"Multipart/RELATED; Boundary={BOUNDARY}; TYPE=application/dicom",
        f'multipart/related;type="application/dicom";start="<1@here>";boundary="{BOUNDARY}"',
        f"multipart/related; boundary={BOUNDARY}",
        f'multipart/related; type="application/dicom; transfer-syntax=*"; boundary={BOUNDARY}; charset=utf-8',
        f"multipart/related; type=application/dicom; boundary*=us-ascii''{BOUNDARY}",
    ],
)
def test_a_content_type_is_read_as_rfc_2045_has_it(web: Running, content_type: str) -> None:
    assert post(web, multipart(FILE), content_type=content_type).status_code == 200


def test_a_quoted_boundary_may_hold_what_a_token_can_not(web: Running) -> None:
    odd = "=_(a b):'c'?/=+,-."
    body = multipart(FILE).replace(B, odd.encode())
    content_type = f'multipart/related; type="application/dicom"; boundary="{odd}"'
    assert post(web, body, content_type=content_type).status_code == 200


def test_a_part_of_parts_is_refused_and_takes_no_other_with_it(web: Running) -> None:
    """Its own boundary begins as the outer one does, which RFC 2046 allows."""
    inner = multipart(part10(small(2))).replace(B, B + b"-inner")
    nested = b"--%s\r\nContent-Type: multipart/related; boundary=%s-inner\r\n\r\n%s\r\n" % (B, B, inner)
    response = post(web, nested + multipart(FILE))
    assert (response.status_code, *answered(response)) == (202, [uid("1", 1)], {}, [0xC000])


@pytest.mark.parametrize("behind", [b"x", b"-", b"-x", b" x", b"\n", b"\r", b"\rx"])
@pytest.mark.parametrize("piece", [1, 7, 1 << 16])
def test_a_line_that_only_begins_as_the_boundary_is_part_of_the_instance(
    web: Running, behind: bytes, piece: int
) -> None:
    data = small(1)
    data.PixelData = b"\r\n--%s%s" % (B, behind) + b"\0" * (16 + len(behind) % 2) + b"\r\n--%s" % B + b"x" * 20
    data.PixelData += b"\0" * (len(data.PixelData) % 2)
    body = multipart(part10(data))
    response = post(web, (body[start : start + piece] for start in range(0, len(body), piece)))
    assert (response.status_code, *answered(response)) == (200, [uid("1", 1)], {}, [])
    (row,) = web.instances()
    assert data.PixelData in (web.storage.root / row.key).read_bytes()


@pytest.mark.parametrize(
    ("body", "status", "kept"),
    [
        (b"", 400, 0),
        (b"--%s--\r\n" % B, 400, 0),
        (b"--%s--" % B, 400, 0),
        (FILE, 400, 0),
        (multipart(FILE).replace(b"\r\n", b"\n"), 400, 0),
        (multipart(FILE, closed=False), 400, 0),
        (multipart(FILE, closed=False) + b"--%s\r\n" % B, 202, 1),
        (multipart(b""), 409, 0),
        (multipart(FILE[132:]), 409, 0),
        (multipart(FILE[:200], FILE), 202, 1),
        (multipart(b'[{"00080018": {"vr": "UI"}}]', content_type="application/dicom+json"), 409, 0),
        (multipart(FILE, content_type="image/jpeg"), 409, 0),
        (multipart(b64encode(FILE), content_type="application/dicom\r\nContent-Transfer-Encoding: base64"), 409, 0),
        (multipart(FILE, content_type="application/dicom\r\nContent-Encoding: gzip"), 409, 0),
    ],
)
def test_what_is_no_whole_instance_is_told_and_not_kept(web: Running, body: bytes, status: int, kept: int) -> None:
    response = post(web, body)
    assert response.status_code == status, response.text
    assert len(web.instances()) == kept


def test_metadata_with_bulk_data_apart_are_refused_as_a_whole_by_their_media_type(web: Running) -> None:
    for media_type in ("application/dicom+json", "application/dicom+xml"):
        content_type = f'multipart/related; type="{media_type}"; boundary={BOUNDARY}'
        response = post(web, multipart(b"[]", content_type=media_type), content_type=content_type)
        assert response.status_code == 415
        assert "application/dicom" in response.text


def test_instances_of_two_studies_are_taken_together_and_apart_by_the_path(web: Running) -> None:
    one, other = small(1), small(2)
    other.StudyInstanceUID = uid("another", 1)
    response = post(web, multipart(part10(one), part10(other)), study=str(one.StudyInstanceUID))
    assert response.status_code == 202
    assert answered(response)[0] == [one.SOPInstanceUID]
    assert list(answered(response)[1]) == [other.SOPInstanceUID]
    assert post(web, multipart(part10(one), part10(other))).status_code == 200
    assert len(web.instances()) == 2


@pytest.mark.parametrize("options", [[], ["--header", "Transfer-Encoding: chunked"], ["--http1.0"]])
def test_curl_which_asks_whether_to_go_on_is_told_to(web: Running, tmp_path: Path, options: list[str]) -> None:
    large = small(1)
    large.PixelData = b"\0" * (3 << 20)
    (tmp_path / "body").write_bytes(multipart(part10(large)))
    said = subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", "30", "--write-out", " %{http_code}", *options]
        + ["--header", f'Content-Type: multipart/related; type="application/dicom"; boundary={BOUNDARY}']
        + (["--header", "Expect: 100-continue"] if "--http1.0" not in options else [])
        + ["--data-binary", f"@{tmp_path / 'body'}", url(web)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout.endswith(" 200"), said
    assert stored(web) == [uid("1", 1)]


def test_who_is_not_let_in_is_told_before_the_body_is_asked_for(listen: Listen) -> None:
    running = listen(dicomweb=dicomweb(PACS=TOKEN))
    head = (
        f"POST /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/dicom\r\n"
        f"Content-Length: {len(FILE)}\r\nExpect: 100-continue\r\n"
    )
    for token, expected in (("wrong", b"HTTP/1.1 401"), (TOKEN, b"HTTP/1.1 100")):
        with socket.create_connection(("127.0.0.1", running.scp.dicomweb_port or 0), 10) as link:
            link.sendall(f"{head}Authorization: Bearer {token}\r\n\r\n".encode())
            assert link.recv(12) == expected


def test_requests_sends_in_chunks_by_a_generator(web: Running) -> None:
    def pieces() -> Iterator[bytes]:
        body = multipart(FILE, part10(small(2)))
        yield from (body[start : start + 100] for start in range(0, len(body), 100))

    headers = {"Content-Type": f"multipart/related; type=application/dicom; boundary={BOUNDARY}"}
    response = requests.post(url(web), data=pieces(), headers=headers, timeout=30)
    assert response.status_code == 200
    assert len(response.json()["00081199"]["Value"]) == 2
