"""STOW-RS (PS3.18 section 10.5): a batch streamed as multipart/related, and what the service said of each instance."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from whyray.base.errors import DecodeError, PeerBusy, PeerRefused
from whyray.base.failures import logged
from whyray.config import DicomWebDestination
from whyray.delivery.connecting import unanswered
from whyray.delivery.outgoing import Outcome, Outgoing, Report, unencodable
from whyray.delivery.statuses import describe, error_of
from whyray.delivery.store_answers import JSON, XML, StoreAnswers, read_answers
from whyray.delivery.syntaxes import COMPRESSION_FAILED, UNCOMPRESSED, Compression, NoCompression, ways
from whyray.delivery.web import asked_wait, error_of_response, web_client, words_of

if TYPE_CHECKING:
    import httpx

_log = logging.getLogger("whyray.delivery")
_PIECE = 1 << 18
_MOST_BYTES = 64 << 20
"""Bytes of one request, where it has more than one instance."""

_THERE_ALREADY = (0x0111, 0xB00E)
"""Failure Reasons that say of an object that the service has it: PS3.7 section C.5.8, and Azure's DICOM service."""

# One bad object makes some services refuse the whole request; each alone shows which it is.
_DIVIDE = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.INTERNAL_SERVER_ERROR,
}


def stow(
    peer: DicomWebDestination,
    files: Sequence[Outgoing],
    report: Report,
    *,
    compression: Compression | None = None,
    proceed: Callable[[Outgoing], bool] = lambda _: True,
    begins: Callable[[Outgoing], None] = lambda _: None,
) -> None:
    """Send files, telling `report` of each.

    A service can't be asked beforehand what it takes: a file goes in the first of the destination's transfer syntaxes
    that `compression` can make, and as it is stored where the service refuses that one.

    Raises
    ------
    PeerUnreachable, PeerBusy, PeerRefused
        If a request fails as a whole, and not because of what it holds, or a file for TLS can't be used: so fares all
        that `report` was not told of.
    """
    packer = compression or NoCompression()
    with web_client(peer) as client:
        for batch in _requests(files):
            with TemporaryDirectory(prefix="whyray-stow-") as folder:
                waiting = [(file, _ways(file, peer.transfer_syntaxes, packer)) for file in batch if proceed(file)]
                for file, _ in waiting:
                    begins(file)
                while waiting:
                    waiting = _send_packed(client, peer.url, waiting, packer, Path(folder), report)


def _ways(file: Outgoing, wanted: Sequence[str], compression: Compression) -> list[str]:
    """As `ways`, to the first that is uncompressed: that is what the file is stored in, and every service takes it."""
    syntaxes = ways(file, wanted, compression)
    last = next((number for number, syntax in enumerate(syntaxes) if syntax in UNCOMPRESSED), len(syntaxes) - 1)
    return list(dict.fromkeys([*syntaxes[:last], file.transfer_syntax_uid]))


def _send_packed(
    client: httpx.Client,
    url: str,
    waiting: Sequence[tuple[Outgoing, list[str]]],
    compression: Compression,
    folder: Path,
    report: Report,
) -> list[tuple[Outgoing, list[str]]]:
    """Send each file in the first of its ways; gives those back whose way was refused for good and that have others."""
    again: list[tuple[Outgoing, list[str]]] = []
    packed: dict[Path, tuple[Outgoing, list[str]]] = {}
    for number, (file, open_ways) in enumerate(waiting):
        try:
            packed[_packed(file, open_ways[0], compression, folder / f"{number}.dcm").path] = (file, open_ways)
        except COMPRESSION_FAILED as error:
            logged(_log, error, f"{file.sop_instance_uid} for {url} goes uncompressed")
            again.append((file, open_ways[1:]))
        except Exception as error:  # pydicom and codecs raise what they like; their text may quote the file
            failure = unencodable(error, file, url)
            report(Outcome(file, None, failure.message, failure))

    def heard(outcome: Outcome) -> None:
        file, open_ways = packed[outcome.file.path]
        error = outcome.error
        # some services answer 500 to what they can't decode
        refused = error is not None and (not error.retriable or outcome.status == HTTPStatus.INTERNAL_SERVER_ERROR)
        if refused and len(open_ways) > 1:
            again.append((file, open_ways[1:]))
        else:
            report(replace(outcome, file=file, transfer_syntax_uid=open_ways[0] if outcome.stored else None))

    _send(client, url, [replace(file, path=path) for path, (file, _) in packed.items()], heard)
    return again


def _packed(file: Outgoing, syntax: str, compression: Compression, place: Path) -> Outgoing:
    if syntax == file.transfer_syntax_uid or not file.path.is_file():
        return file
    place.write_bytes(compression.compressed(file.path, syntax))
    return replace(file, path=place)


def _requests(files: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    batch: list[Outgoing] = []
    size = 0
    for file in files:
        own = file.path.stat().st_size if file.path.exists() else 0
        if batch and size + own > _MOST_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += own
    if batch:
        yield batch


def _send(client: httpx.Client, url: str, files: Sequence[Outgoing], report: Report) -> None:
    readable = []
    for file in files:
        if file.path.is_file():
            readable.append(file)
        else:
            gone = DecodeError(f"the file of {file.sop_instance_uid} is gone", advice="Repeat the job that made it.")
            report(Outcome(file, None, gone.message, gone))
    if not readable:
        return
    response = _post(client, url, readable)
    answers, not_within = read_answers(response.content), asked_wait(response.headers)
    unnamed = [file for file in readable if not answers.names(file.sop_instance_uid)]
    if answers.others and len(unnamed) == 1:
        answers = replace(answers, failed={**answers.failed, unnamed[0].sop_instance_uid: answers.others[0]})
    if answers.named or response.is_success:
        # of objects that the service could not name, fewer at a time show which failed
        again = unnamed if answers.others and len(unnamed) > 1 else []
        # an object counts as stored where the service names it, and only there: a bare 200 may have stored nothing
        for file in readable:
            if file not in again:
                report(_outcome(file, answers, response.status_code, url, not_within))
        _send_halves(client, url, again, report)
    elif response.status_code in _DIVIDE and len(readable) > 1:
        _send_halves(client, url, readable, report)
    else:
        error = error_of_response(response.status_code, url, not_within=not_within)
        if response.status_code not in _DIVIDE:
            raise error
        report(Outcome(readable[0], response.status_code, words_of(response.status_code), error))


def _send_halves(client: httpx.Client, url: str, files: Sequence[Outgoing], report: Report) -> None:
    middle = len(files) // 2
    _send(client, url, files[:middle], report)
    _send(client, url, files[middle:], report)


def _post(client: httpx.Client, url: str, files: Sequence[Outgoing]) -> httpx.Response:
    boundary = secrets.token_hex(16)
    # no transfer-syntax parameter, which the files carry anyhow: Orthanc's plugin drops such parts and answers 200
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    tail = f"--{boundary}--\r\n".encode()
    length = sum(len(head) + file.path.stat().st_size + 2 for file in files) + len(tail)

    def body() -> Iterator[bytes]:
        for file in files:
            yield head
            with file.path.open("rb") as source:
                while piece := source.read(_PIECE):
                    yield piece
            yield b"\r\n"
        yield tail

    import httpx

    headers = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        # a length known beforehand, since many services take no chunked requests
        "Content-Length": str(length),
    }
    begun = time.monotonic()
    try:
        # one at a time, since some services compare the whole header
        response = client.post("/studies", content=body(), headers={**headers, "Accept": JSON})
        if response.status_code == HTTPStatus.NOT_ACCEPTABLE:
            response = client.post("/studies", content=body(), headers={**headers, "Accept": XML})
    except httpx.HTTPError as error:
        raise unanswered(url, error, time.monotonic() - begun) from error
    return response


def _outcome(file: Outgoing, answers: StoreAnswers, http: int, url: str, not_within: timedelta | None) -> Outcome:
    uid = file.sop_instance_uid
    if uid in answers.failed:
        reason = answers.failed[uid]
        if not reason:
            bare = PeerRefused(f"{url} answered {words_of(http)} and lists {uid} as failed, without a Failure Reason")
            return Outcome(file, http, words_of(http), bare)
        error = error_of(reason, uid, url, not_within=not_within)
        if error is None and reason not in _THERE_ALREADY:
            error = PeerRefused(f"{url} lists {uid} as failed, with {describe(reason)}")
        return Outcome(file, reason, describe(reason), error)
    if uid in answers.stored:
        warning = answers.stored[uid]
        return Outcome(file, http, words_of(http), None) if warning is None else Outcome(
            file, warning, describe(warning), None
        )  # fmt: skip
    silent = PeerBusy(f"{url} answered {words_of(http)} and said nothing of {uid}", not_within=not_within)
    return Outcome(file, http, silent.message, silent)
