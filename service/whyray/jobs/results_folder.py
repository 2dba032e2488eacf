"""The folder that `whyray explain --out` writes: the results of one run, all of them or none, and nobody else's.

Results are made in a hidden folder within it. At the end an earlier run's files are moved aside, into the hidden folder
too, and the new ones to their places, report.json last of each. So at any moment a report.json, in its place or in the
hidden folder, lists every file that a run has put there: what a later run that is allowed to overwrite takes away is
exactly that. What stops the moving is undone; where not even that is possible, because the process is killed or the
disk takes no more changes, the hidden folder stays, and the next run that may overwrite moves the rest.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from whyray.base.errors import ConfigError
from whyray.base.shown import shown_path

REPORT = "report.json"
UNFINISHED = ".whyray-unfinished"
FOLDERS = ("dicom", "pictures")
_ASIDE = "replaced"
"""Below the hidden folder, from when moving begins until it is over: the earlier run's files."""
_OURS = re.compile(rf"(?:{'|'.join(FOLDERS)})/[^/\0]+")
"""What a report may list: a report that somebody changed can't have another file removed."""
_ANOTHER = "Name another folder with --out"
_MOST_NAMED = 3


@dataclass(frozen=True)
class ResultsFolder:
    """A folder that one run has for itself. `making`: where results are made; `earlier`: files of an earlier run, its
    report among them."""

    place: Path
    making: Path
    earlier: frozenset[Path]

    def finish(self) -> None:
        """Put what was made, with its report, in the place of what an earlier run left; nothing else is touched.

        Raises
        ------
        ConfigError
            If somebody has put another file where a result goes; then, as where the file system refuses something or
            the run is interrupted, the earlier run's files are put back.
        """
        made = listed_files(self.making / REPORT)
        try:
            _put_in_place(self.place, self.making, self.earlier, made)
        except BaseException:
            if (self.making / REPORT).exists():  # without it, all is in its place
                _put_back(self.place, self.making, made)
            raise


@contextmanager
def results_folder(out: Path, *, overwrite: bool = False) -> Iterator[ResultsFolder]:
    """Have `out` for one run; unless it finishes, all is left as it was. Folders that are missing are made.

    What an earlier run was killed in, putting its results in their places, is done first, where it may be overwritten.

    Raises
    ------
    ConfigError
        If it holds results already and they may not be overwritten, if files lie where results go that no run of
        WhyRay lists, or if another run writes into it at this moment.
    """
    missing = [folder for folder in (out, *out.parents) if not folder.exists()]
    out.mkdir(parents=True, exist_ok=True)
    try:
        with _one_at_a_time(out) as alone:
            making = out / UNFINISHED
            earlier = _earlier(out, making, overwrite=overwrite, alone=alone)
            if _is_interrupted(making):
                _resume(out, making, earlier)
                earlier = _earlier(out, making, overwrite=overwrite, alone=alone)
            _make(making, anew=alone or overwrite)
            try:
                yield ResultsFolder(out, making, earlier)
            finally:
                if not (making / _ASIDE).exists() or not (making / REPORT).exists():
                    _discard(making)
    finally:
        for folder in missing:
            with suppress(OSError):  # what was made in it stays
                folder.rmdir()


@contextmanager
def _one_at_a_time(out: Path) -> Iterator[bool]:
    """Hold the folder against other runs, and say whether that can be done on this file system."""
    handle = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            busy = f"another `whyray explain` writes into {shown_path(out)} at this moment"
            raise ConfigError(busy, advice=f"{_ANOTHER}, or wait for it.") from None
        except OSError:  # a network file system without locks: making the hidden folder tells runs apart
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def _make(making: Path, *, anew: bool) -> None:
    if anew and making.is_dir():
        _discard(making)
    try:
        making.mkdir()
    except FileExistsError:
        words = f"another run writes into {shown_path(making.parent)}, or was interrupted ({UNFINISHED} is there)"
        raise ConfigError(words, advice=f"{_ANOTHER}; if no other runs, add --overwrite.") from None


def _discard(making: Path) -> None:
    # the report first: without it nobody takes what is left for results that are to be moved
    (making / REPORT).unlink(missing_ok=True)
    shutil.rmtree(making)


def _put_in_place(out: Path, making: Path, earlier: Iterable[Path], made: Collection[str]) -> None:
    """Move the earlier files aside and those made to their places, where an interrupted run has not done so yet."""
    aside = making / _ASIDE
    aside.mkdir(exist_ok=True)
    for path in sorted(earlier):
        replaced = aside / (name := path.relative_to(out))
        if (making / name).exists() or str(name) not in made:  # else it is in its place already
            replaced.unlink(missing_ok=True)
            _move(path, replaced)
    _remove_empty(out)
    for result in (*sorted(made), REPORT):
        if (making / result).exists():
            _move(making / result, out / result)


def _put_back(out: Path, making: Path, made: Iterable[str]) -> None:
    """Undo what `_put_in_place` did, however far it came."""
    aside = making / _ASIDE
    for name in made:
        if not (making / name).exists() and (out / name).exists():
            _move(out / name, making / name)
    _remove_empty(out)
    for path in sorted(aside.glob("*/*")) + sorted(aside.glob(REPORT)):
        _move(path, out / path.relative_to(aside))
    _remove_empty(aside)
    with suppress(FileNotFoundError):
        aside.rmdir()


def _move(source: Path, target: Path) -> None:
    if os.path.lexists(target):
        there = f"{shown_path(target)} was put there while results were made, and is not of this run"
        raise ConfigError(there, advice=f"{_ANOTHER}, or move the file away.")
    target.parent.mkdir(exist_ok=True)
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        try:  # a folder of results that is a link to another file system
            shutil.copy2(source, target)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        source.unlink()


def _remove_empty(folder: Path) -> None:
    for name in FOLDERS:
        with suppress(OSError):  # not there, or something else lies in it
            (folder / name).rmdir()


def _is_interrupted(making: Path) -> bool:
    """Whether a run had made its results, as its report says, and was interrupted before all were in their places."""
    report = making / REPORT
    if not report.exists():
        return False
    if not (making / _ASIDE).exists():
        try:
            listed_files(report)
        except ConfigError:  # interrupted while it wrote the report
            return False
    return True


def _resume(out: Path, making: Path, earlier: Iterable[Path]) -> None:
    """Have the results of an interrupted run in their places, or, where some are gone, those of the run before it."""
    made = listed_files(making / REPORT)
    if all((making / name).exists() or (out / name).exists() for name in made):
        _put_in_place(out, making, earlier, made)
    else:
        _put_back(out, making, made)


def _earlier(out: Path, making: Path, *, overwrite: bool, alone: bool) -> frozenset[Path]:
    """Files that earlier runs put into `out`, if they may be removed and are all that lies where results go."""
    interrupted = _is_interrupted(making)
    places = (out, making, making / _ASIDE) if interrupted else (out,)
    reports = [place / REPORT for place in places if (place / REPORT).exists()]
    listed = frozenset(out / name for report in reports for name in (*listed_files(report), REPORT))
    entries = [path for name in FOLDERS for path in _entries(out / name)]
    foreign = sorted(path for path in entries if path not in listed or path.is_dir())
    if foreign:
        raise ConfigError(
            f"{shown_path(out)} holds {_named(out, foreign)}, of which no report.json in it says that a run of "
            "`whyray explain` wrote them: results would be mixed with them",
            advice=f"{_ANOTHER}, or move these files away.",
        )
    if reports and not overwrite:
        whose = "what an interrupted run left" if interrupted and alone else "the results of an earlier run"
        raise ConfigError(
            f"{shown_path(out)} holds {whose}",
            advice=f"{_ANOTHER}, or add --overwrite: it removes the files that its report.json lists, and no others.",
        )
    return frozenset(path for path in listed if os.path.lexists(path))


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else [folder] if folder.exists() else []


def listed_files(report: Path) -> list[str]:
    """The files that a report of `whyray explain` lists, as paths in its folder; ConfigError for any other file."""
    try:
        content = json.loads(report.read_text("utf-8"))
        files = content["files"] if "whyray" in content else None
    except (OSError, ValueError, KeyError, TypeError):
        files = None
    if not isinstance(files, list) or not all(isinstance(name, str) and _OURS.fullmatch(name) for name in files):
        raise ConfigError(
            f"{shown_path(report)} is no report that `whyray explain` wrote, or was changed", advice=f"{_ANOTHER}."
        )
    return [name for name in files if name.partition("/")[2] not in (".", "..")]


def _named(out: Path, files: Iterable[Path]) -> str:
    names = [shown_path(path.relative_to(out)) for path in files]
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
