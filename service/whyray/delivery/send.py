"""`whyray send`: files to any AE or DICOMweb service, without a catalog, each with its own outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pydicom.uid import MediaStorageDirectoryStorage

from whyray.base.errors import ConfigError, PeerUnreachable, WhyRayError
from whyray.base.shown import shown_path
from whyray.config import Destination, DicomDestination
from whyray.delivery.association import MOST_BROKEN, Caller, address
from whyray.delivery.cstore import batches, store
from whyray.delivery.outgoing import Outcome, Outgoing, Report, read_outgoing
from whyray.delivery.statuses import describe
from whyray.delivery.stow import stow


def parse_peer(text: str) -> DicomDestination:
    """'AE@host:port' or 'AE@host' (port 104) as a destination with the default time-outs.

    Raises
    ------
    ConfigError
        If it is not written so.
    """
    title, at, rest = text.partition("@")
    host, port = rest.rsplit(":", 1) if ":" in rest else (rest, "104")
    try:
        if not at or not host or not port.isdecimal():
            raise ValueError
        return DicomDestination(ae_title=title, host=host.strip("[]"), port=int(port))
    except ValueError:
        raise ConfigError(
            f"'{text}' is not a peer", advice="Write AE@host:port, e.g. PACS_MAIN@10.0.0.5:104."
        ) from None


def find_files(paths: Sequence[Path]) -> list[Path]:
    """The files that `paths` name, folders searched to the bottom; in order, without DICOMDIR and hidden files.

    Raises
    ------
    ConfigError
        If a path does not exist.
    """
    return [file for path in paths for file in _below(path)]


def _below(path: Path) -> Iterator[Path]:
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            inside = file.relative_to(path).parts
            if file.is_file() and file.name != "DICOMDIR" and not any(part.startswith(".") for part in inside):
                yield file
    elif path.is_file():
        yield path
    else:
        raise ConfigError(
            f"there is no file or folder {shown_path(path)}", advice="Name files, or folders that hold them."
        )


def send_files(
    paths: Sequence[Path],
    peer: Destination,
    *,
    caller: Caller | None = None,
    progress: Callable[[Outcome, int, int], None] = lambda _outcome, _done, _total: None,
) -> list[Outcome]:
    """Send files and folders; an outcome for every file, in the order of `find_files`, whatever happens.

    An association that breaks is opened again for the files after the one that broke it; one that can't be opened ends
    the sending, and all files left have its error.

    Parameters
    ----------
    progress
        Called with each outcome, how many have one, and how many there are.

    Raises
    ------
    ConfigError
        If a path does not exist.
    """
    files = find_files(paths)
    outcomes: dict[Path, Outcome] = {}

    def report(outcome: Outcome) -> None:
        outcomes[outcome.file.path] = outcome
        progress(outcome, len(outcomes), len(files))

    readable: list[Outgoing] = []
    for path in dict.fromkeys(files):
        try:
            file = read_outgoing(path)
        except WhyRayError as error:
            report(Outcome(Outgoing(path, "", "", ""), None, error.message, error))
        else:
            if file.sop_class_uid != MediaStorageDirectoryStorage:
                readable.append(file)
    try:
        _send(readable, peer, caller or Caller(), report, lambda file: file.path not in outcomes)
    except WhyRayError as error:
        for file in readable:
            if file.path not in outcomes:
                report(Outcome(file, None, error.message, error))
    return [outcomes[path] for path in dict.fromkeys(files) if path in outcomes]


def _send(
    files: Sequence[Outgoing], peer: Destination, caller: Caller, report: Report, is_open: Callable[[Outgoing], bool]
) -> None:
    if not isinstance(peer, DicomDestination):
        stow(peer, files, report)
        return
    broken = 0

    def count(outcome: Outcome) -> None:
        nonlocal broken
        broken = broken + 1 if outcome.broke else 0
        report(outcome)

    for part in batches(files, peer.transfer_syntaxes):
        while left := [file for file in part if is_open(file)]:
            if broken >= MOST_BROKEN:
                raise PeerUnreachable(f"{address(peer)} broke {broken} associations in a row")
            store(peer, caller, left, count)


def summary(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How many files had each answer, by its words or its error's class: {'0x0000 Success': 27, 'PeerRefused': 1}."""
    counts: dict[str, int] = {}
    for outcome in outcomes:
        key = outcome.error.code if outcome.error is not None else describe(outcome.status or 0)
        counts[key] = counts.get(key, 0) + 1
    return counts
