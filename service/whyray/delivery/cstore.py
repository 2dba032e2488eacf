"""C-STORE of a batch over one association: bytes as they are on disk, each status as the peer gave it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from io import BytesIO
from typing import Any, TypeAlias

from pydicom import Dataset, dcmread
from pydicom.uid import UID
from pynetdicom import _config
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from whyray.base.errors import PeerRefused, PeerUnreachable, WhyRayError
from whyray.base.failures import logged
from whyray.config import DicomDestination
from whyray.delivery.association import (
    MOST_CONTEXTS,
    Caller,
    EventHandlers,
    address,
    association,
    context,
    refusals,
    silence,
)
from whyray.delivery.compression_ahead import CompressionAhead
from whyray.delivery.memory_file import MemoryFile
from whyray.delivery.outgoing import Outcome, Outgoing, Report, unencodable, without_identity
from whyray.delivery.preparation import AHEAD, Preparation, is_small
from whyray.delivery.statuses import describe, error_of
from whyray.delivery.syntaxes import (
    COMPRESSION_FAILED,
    UNCOMPRESSED,
    Compression,
    NoCompression,
    compressions,
    uncompressed,
    ways,
)

_log = logging.getLogger("whyray.delivery")
# A file is sent in pieces as it lies on disk, never decoded. The setting counts for paths only; data sets that have to
# be converted to what the peer accepts are read first and given as such.
_config.STORE_SEND_CHUNKED_DATASET = True


_Source: TypeAlias = tuple[Any, str]
"""What pynetdicom is to send, a path or a data set, and in which transfer syntax."""


def store(
    peer: DicomDestination,
    caller: Caller,
    files: Sequence[Outgoing],
    report: Report,
    *,
    compression: Compression | None = None,
    accepts: set[tuple[str, str]] | None = None,
    extra: Sequence[PresentationContext] = (),
    handlers: EventHandlers | None = None,
    proceed: Callable[[Outgoing], bool] = lambda _: True,
    begins: Callable[[Outgoing], None] = lambda _: None,
    after: Callable[[Association], None] | None = None,
) -> None:
    """Send files over one association, telling `report` of each as soon as the peer has answered.

    They go in their order, but what is ready does not wait for those before it that are still being compressed. What
    `report` is not told of was never tried: the association ended before its turn, or `proceed` said no.

    Parameters
    ----------
    compression
        What makes the compressed transfer syntaxes that `peer` wants; nothing is compressed without it.
    accepts
        SOP Classes and transfer syntaxes that the peer accepted last time, and accepts now when this comes back: files
        are compressed accordingly while the association is opened.
    extra
        Further contexts to propose, such as storage commitment.
    proceed
        Asked of each file that is left, before each that is sent; False leaves it out.
    begins
        Told of each file that is about to be sent.
    after
        Called with the association when all files are through, before it is released.

    Raises
    ------
    PeerUnreachable, PeerBusy, PeerRefused
        If no association can be had: nothing was tried. (An association that breaks later is the outcome of the file
        that was under way.)
    """
    accepted = accepts if accepts is not None else set()
    with ExitStack() as stack:
        ahead = stack.enter_context(CompressionAhead(compression or NoCompression()))
        _begin(ahead, files[: 1 + AHEAD], peer, accepted)
        proposed = contexts_for(files, peer.transfer_syntaxes, ahead)
        link = stack.enter_context(association(peer, caller, [*proposed, *extra], handlers=handlers))
        accepted.clear()
        accepted.update(
            (str(context.abstract_syntax), str(context.transfer_syntax[0])) for context in link.accepted_contexts
        )

        def prepare(file: Outgoing) -> _Source:
            return _source(link, peer, file, accepted, ahead)

        def is_ready(file: Outgoing) -> bool:
            return _agreed(peer, file, accepted, ahead)[:1] in ([], [file.transfer_syntax_uid])

        left = list(range(len(files)))
        with Preparation(files, prepare, is_ready) as sources:
            while left := [number for number in left if proceed(files[number])]:
                number = sources.first_ready(left)
                left.remove(number)
                file = files[number]
                if not proceed(file):  # it may have taken long to make it ready
                    continue
                begins(file)
                outcome = _store_one(link, peer, file, partial(sources.take, number), number % 65535 + 1)
                report(outcome)
                if outcome.broke or not link.is_established or link.dul.peek_next_pdu() is not None:
                    # pynetdicom may act on the end a moment later; whatever is sent until then waits for its time-out
                    link.abort()
                    return
        if after is not None:
            after(link)


def batches(
    files: Sequence[Outgoing],
    wanted: Sequence[str] = UNCOMPRESSED,
    compression: Compression | None = None,
    *,
    room: int = MOST_CONTEXTS,
) -> list[list[Outgoing]]:
    """The files in order, cut where an association would need more than `room` presentation contexts."""
    cut: list[list[Outgoing]] = [[]]
    for file in files:
        if cut[-1] and len(contexts_for([*cut[-1], file], wanted, compression)) > room:
            cut.append([])
        cut[-1].append(file)
    return cut if cut[0] else []


def contexts_for(
    files: Iterable[Outgoing], wanted: Sequence[str] = UNCOMPRESSED, compression: Compression | None = None
) -> list[PresentationContext]:
    """For each SOP Class: each syntax that a file is stored in or may be compressed to by itself, so that the choice is
    ours; and the uncompressed ones that the destination wants, to fall back to.
    """
    plain = uncompressed(wanted)
    alone: dict[str, dict[str, None]] = {}
    for file in files:
        syntaxes = alone.setdefault(file.sop_class_uid, {})
        if file.transfer_syntax_uid in plain or file.transfer_syntax_uid not in UNCOMPRESSED:
            syntaxes[file.transfer_syntax_uid] = None
    for sop_class, syntaxes in alone.items():
        syntaxes.update(dict.fromkeys(compressions(sop_class, wanted, compression or NoCompression())))
    made = [context(sop_class, syntax) for sop_class, syntaxes in alone.items() for syntax in syntaxes]
    rest = {sop_class: [syntax for syntax in plain if syntax not in syntaxes] for sop_class, syntaxes in alone.items()}
    return made + [context(sop_class, *syntaxes) for sop_class, syntaxes in rest.items() if syntaxes]


def _store_one(
    link: Association,
    peer: DicomDestination,
    file: Outgoing,
    source_of_it: Callable[[], _Source],
    message_id: int,
) -> Outcome:
    name = address(peer)
    try:
        source, syntax = source_of_it()
        begun = time.monotonic()
        answer = link.send_c_store(source, msg_id=message_id)
    except WhyRayError as error:
        return Outcome(file, None, error.message, error)
    except Exception as error:  # pydicom, codecs and pynetdicom raise what they like; their text may quote the file
        failure: WhyRayError
        if not link.is_established:
            failure = PeerUnreachable(f"{name} ended the association before {file.sop_instance_uid}")
        else:
            failure = unencodable(error, file, name)
        return Outcome(file, None, failure.message, failure)
    if "Status" not in answer:
        limit = peer.timeouts.dimse.total_seconds()
        what = f"C-STORE of {file.sop_instance_uid}"
        lost = PeerUnreachable(f"{name} {silence(time.monotonic() - begun, limit, what)}")
        return Outcome(file, None, lost.message, lost)
    status = int(answer.Status)
    comment = without_identity(_comment(answer), file.path)
    failed = error_of(status, file.sop_instance_uid, name, comment)
    return Outcome(file, status, describe(status, comment), failed, None if failed is not None else syntax)


def _source(
    link: Association,
    peer: DicomDestination,
    file: Outgoing,
    accepted: set[tuple[str, str]],
    compression: Compression,
) -> _Source:
    """In the best transfer syntax that was accepted: the file's path as it is stored, or a data set."""
    name, stored = address(peer), file.transfer_syntax_uid
    gave_up: WhyRayError | None = None
    for syntax in _agreed(peer, file, accepted, compression):
        if syntax == stored:
            return file.path, stored
        if syntax in UNCOMPRESSED:
            return dcmread(file.path), syntax
        try:
            return _as_file(compression.compressed(file.path, syntax)), syntax
        except COMPRESSION_FAILED as error:
            # the encoder's fault and not the result's: it goes as it can go
            gave_up = logged(_log, error, f"{file.sop_instance_uid} for {name} goes uncompressed, where that is taken")
    if gave_up is not None:
        raise gave_up
    if any((file.sop_class_uid, syntax) in accepted for syntax in UNCOMPRESSED):
        raise PeerRefused(
            f"{name} takes {UID(file.sop_class_uid).name} but not in {UID(stored).name}, as {file.sop_instance_uid} is",
            advice="Enable this transfer syntax at the peer, or send uncompressed objects there.",
        )
    rejected = [context for context in link.rejected_contexts if str(context.abstract_syntax) == file.sop_class_uid]
    raise PeerRefused(
        f"{name} does not accept {refusals(rejected) or UID(file.sop_class_uid).name}, for {file.sop_instance_uid}"
    )


def _begin(
    ahead: CompressionAhead, files: Sequence[Outgoing], peer: DicomDestination, accepted: set[tuple[str, str]]
) -> None:
    """Begin to compress what the peer will take compressed, by what it accepted before."""
    for file in files:
        first, *_ = ways(file, peer.transfer_syntaxes, ahead)
        is_compressed_anew = first not in UNCOMPRESSED and first != file.transfer_syntax_uid
        if is_compressed_anew and (file.sop_class_uid, first) in accepted and is_small(file):
            ahead.begin(file.path, first)


def _agreed(
    peer: DicomDestination, file: Outgoing, accepted: set[tuple[str, str]], compression: Compression
) -> list[str]:
    """The transfer syntaxes that were accepted for a file, best first."""
    proposed = ways(file, peer.transfer_syntaxes, compression)
    return [syntax for syntax in proposed if (file.sop_class_uid, syntax) in accepted]


def _as_file(compressed: bytes) -> Any:
    """What is sent as it is: read as a data set, it would be encoded and deflated once more."""
    try:
        return MemoryFile(compressed)
    except OSError:
        return dcmread(BytesIO(compressed))


def _comment(answer: Dataset) -> str:
    words = [str(answer.get("ErrorComment") or "").strip()]
    elements = answer.get("OffendingElement")
    if elements:
        listed = elements if isinstance(elements, list) or hasattr(elements, "append") else [elements]
        words.append("offending: " + ", ".join(str(element) for element in listed))
    return "; ".join(part for part in words if part)
