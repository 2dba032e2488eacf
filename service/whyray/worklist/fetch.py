"""Fetching images by WADO-RS (PS3.18 section 10.4), into storage and catalog as if a PACS had sent them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from email.message import Message
from http import HTTPStatus
from typing import TYPE_CHECKING

from whyray.base.errors import ImageError, PeerBusy, PeerUnreachable, ResourceExhausted, StorageUnavailable, WhyRayError
from whyray.config import DicomWebDestination
from whyray.delivery import asked_wait, error_of_response, unanswered, web_client
from whyray.intake import MEDIA_TYPE, MalformedBody, MultipartReader, SinglePart, StoreRequest
from whyray.worklist.workitem import Input

if TYPE_CHECKING:
    import httpx

Keep = Callable[[str, str], StoreRequest]
"""Name of who gives them and Study Instance UID → where instances of this study go."""
_ACCEPT = f'multipart/related; type="{MEDIA_TYPE}"; transfer-syntax=*'
_LEAST = 4096
"""Bytes a second that an answer has to bring: below it, a study of gigabytes would take days, and others wait."""
_SLOW_SPANS = 2
_TOO_LARGE = 0xA702
"""Of intake's own, among PS3.4's A7xx (out of resources): larger than `max_instance_size`, at the next try too."""
_NO_STORAGE = 0xA700
"""Failure Reason where the disk is low, or storage is full or away."""


def fetch(
    service: DicomWebDestination,
    name: str,
    wanted: Input,
    keep: Keep,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> set[str]:
    """Fetch the series of an input, or the instances that it names; gives the SOP Instance UIDs that are here now.

    The addresses are made from UIDs and the configured URL: what a workitem says about where to retrieve is not obeyed,
    since credentials go along.

    Raises
    ------
    PeerUnreachable, PeerBusy, PeerRefused
        If the service does not give them, or has begun to and then gives less than 4 KiB a second throughout twice its
        `timeout`.
    StorageUnavailable, ResourceExhausted
        If they can't be kept for now.
    ImageError
        If one of them can't be taken for good.
    """
    series = f"/studies/{wanted.study_uid}/series/{wanted.series_uid}"
    paths = [f"{series}/instances/{uid}" for uid in wanted.instance_uids] or [series]
    here: set[str] = set()
    with web_client(service) as client:
        for path in paths:
            pace = _Pace(service.timeout.total_seconds(), clock)
            here |= _fetch(client, path, name, keep(name, wanted.study_uid), pace)
    return here


class _Pace:
    """Looks whether enough comes in each `within` seconds of waiting: a time-out alone is reset by every byte.

    How long the answer takes to begin is the time-out's matter, and how long we take to store a piece is ours: neither
    counts.
    """

    def __init__(self, within: float, clock: Callable[[], float]) -> None:
        self._within, self._clock = within, clock
        self._waited, self._came, self._slow_spans = 0.0, 0, 0

    def timed(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The pieces as they come."""
        waits_since: float | None = None
        for piece in pieces:
            if waits_since is not None:
                self._waited += self._clock() - waits_since
            self._came += len(piece)
            yield piece
            waits_since = self._clock()

    def is_too_slow(self) -> bool:
        """Whether too little came in two spans running: one may be a halt of somebody who then gives all the rest."""
        if self._waited >= self._within:
            self._slow_spans = self._slow_spans + 1 if self._came < _LEAST * self._waited else 0
            self._waited, self._came = 0.0, 0
        return self._slow_spans >= _SLOW_SPANS


def _fetch(client: httpx.Client, path: str, name: str, store: StoreRequest, pace: _Pace) -> set[str]:
    import httpx

    begun, broken = time.monotonic(), "the answer broke off"
    try:
        with client.stream("GET", path, headers={"Accept": _ACCEPT}) as answer:
            if not answer.is_success:
                raise error_of_response(answer.status_code, f"{name}{path}", not_within=asked_wait(answer.headers))
            if answer.status_code == HTTPStatus.NO_CONTENT:
                return set()
            reader = _reader(answer, name, store)
            for piece in pace.timed(answer.iter_bytes()):
                reader.feed(piece)
                if pace.is_too_slow() and not _is_whole(answer, reader):
                    raise PeerUnreachable(f"{name} gives {path} slower than {_LEAST} bytes a second")
            reader.close()
            # PS3.18 section 10.4.3.1: the others can't be given now
            if answer.status_code == HTTPStatus.PARTIAL_CONTENT:
                raise PeerBusy(f"{name} gave only some of the instances of {path}")
        broken = ""
    except httpx.HTTPError as error:
        raise unanswered(f"{name}{path}", error, time.monotonic() - begun) from error
    except MalformedBody as error:
        raise PeerUnreachable(f"{name} broke off while giving {path}: {error}") from error
    finally:
        store.close()
        store.audit(broken)
    refused = [failure for *_, failure in store.failed] + store.other_failures
    if refused:
        words = f"an instance of {path} from {name} can't be kept: {refused[0].detail}"
        raise _not_kept(refused[0].status, words)
    return {instance for _, instance in store.stored}


def _not_kept(status: int, words: str) -> WhyRayError:
    """By the status that a sender would be answered with."""
    if status == _NO_STORAGE:  # all senders are refused
        return StorageUnavailable(words)
    if status == _TOO_LARGE:
        return ImageError(words, advice="Raise `listener.limits.max_instance_size`, or leave the instance out.")
    return ResourceExhausted(words) if status & 0xFF00 == 0xA700 else ImageError(words)


def _is_whole(answer: httpx.Response, reader: MultipartReader | SinglePart) -> bool:
    """Whether all has come, so that it need not be refused: by the closing boundary, or by the length that was told."""
    return reader.has_ended or str(answer.num_bytes_downloaded) == answer.headers.get("content-length")


def _reader(answer: httpx.Response, name: str, store: StoreRequest) -> MultipartReader | SinglePart:
    """What takes the body: parts, or the one instance that some services give without."""
    message = Message()
    message["content-type"] = answer.headers.get("content-type", "")
    if message.get_content_type() == MEDIA_TYPE:
        return SinglePart(store)
    boundary = message.get_boundary()
    if message.get_content_type() != "multipart/related" or not boundary:
        raise ImageError(f"{name} answered with {message.get_content_type()}, not multipart/related")
    return MultipartReader(boundary, store)
