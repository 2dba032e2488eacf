"""A sender by STOW-RS that sends what it is told to, right or wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpx
from pydantic import SecretStr

from intake.conftest import Running
from intake.scu import encode
from whyray.config import Secret
from whyray.config.network import DicomWebListener
from whyray.intake.part10 import file_header

BOUNDARY = "between-parts"
TOKEN = "0123456789abcdef-pacs"


def dicomweb(**tokens: str) -> DicomWebListener:
    """STOW-RS on any free port of this machine, with these tokens."""
    kept = {name: Secret({"env": name}, SecretStr(token)) for name, token in tokens.items()}
    return DicomWebListener(address="127.0.0.1", tokens=kept).model_copy(update={"port": 0})


def part10(data: Any, transfer_syntax: str = "1.2.840.10008.1.2.1") -> bytes:
    """A DICOM file."""
    meta = file_header(str(data.SOPClassUID), str(data.SOPInstanceUID), transfer_syntax, "ELSEWHERE")
    return meta + encode(data, transfer_syntax)


def multipart(*files: bytes, content_type: str = "application/dicom", closed: bool = True) -> bytes:
    """A body of these parts."""
    parts = [b"--%s\r\nContent-Type: %s\r\n\r\n%s\r\n" % (BOUNDARY.encode(), content_type.encode(), f) for f in files]
    return b"".join(parts) + (b"--%s--\r\n" % BOUNDARY.encode() if closed else b"")


def url(running: Running, study: str | None = None) -> str:
    """Where to post."""
    return f"http://127.0.0.1:{running.scp.dicomweb_port}/dicom-web/studies" + (f"/{study}" if study else "")


def post_to(port: int, body: bytes) -> httpx.Response:
    """POST this body, as it should be, to a listener without tokens."""
    content_type = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
    where = f"http://127.0.0.1:{port}/dicom-web/studies"
    return httpx.post(where, content=body, headers={"Content-Type": content_type}, timeout=60)


def post(
    running: Running,
    body: bytes | Iterable[bytes],
    *,
    study: str | None = None,
    token: str | None = None,
    content_type: str = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}',
    **headers: str,
) -> httpx.Response:
    """POST this body."""
    sent = {"Content-Type": content_type, **({"Authorization": f"Bearer {token}"} if token else {}), **headers}
    return httpx.post(url(running, study), content=body, headers=sent, timeout=60)


def answered(response: httpx.Response) -> tuple[list[str], dict[str, int], list[int]]:
    """Instances stored, instances failed with their reasons, reasons of other failures."""
    said = response.json()
    stored = [item["00081155"]["Value"][0] for item in said.get("00081199", {}).get("Value", [])]
    failed = {i["00081155"]["Value"][0]: i["00081197"]["Value"][0] for i in said.get("00081198", {}).get("Value", [])}
    other = [item["00081197"]["Value"][0] for item in said.get("0008119A", {}).get("Value", [])]
    return stored, failed, other
