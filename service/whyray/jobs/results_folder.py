"""The folder that `whyray explain --out` writes: the results of one run, all of them or none, and nobody else's.

Results are made in a hidden folder within it and moved to their places at the end, report.json last. So at any moment
a report.json, in its place or in the hidden folder, lists every file that a run has put there: what a later run that is
allowed to overwrite takes away is exactly that.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from whyray.base.errors import ConfigError
from whyray.base.shown import shown_path

REPORT = "report.json"
UNFINISHED = ".whyray-unfinished"
FOLDERS = ("dicom", "pictures")
_OURS = re.compile(rf"(?:{'|'.join(FOLDERS)})/[^/\0]+")
"""What a report may list: a report that somebody changed can't have another file removed."""
_ANOTHER = "Name another folder with --out"
_MOST_NAMED = 3


@dataclass(frozen=True)
class ResultsFolder:
    """A folder that one run has for itself. `making`: where results are made; `earlier`: files of an earlier run."""

    place: Path
    making: Path
    earlier: frozenset[Path]

    def finish(self) -> None:
        """Put what was made, with its report, in the place of what an earlier run left; nothing else is touched."""
        for path in self.earlier:
            path.unlink(missing_ok=True)
        (self.place / REPORT).unlink(missing_ok=True)
        for name in FOLDERS:
            with suppress(OSError):  # not there, or something else lies in it
                (self.place / name).rmdir()
        for path in sorted(self.making.glob("*/*")):
            target = self.place / path.relative_to(self.making)
            target.parent.mkdir(exist_ok=True)
            shutil.move(path, target)
        shutil.move(self.making / REPORT, self.place / REPORT)


@contextmanager
def results_folder(out: Path, *, overwrite: bool = False) -> Iterator[ResultsFolder]:
    """Have `out` for one run; unless it finishes, all is left as it was. Folders that are missing are made.

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
            _make(making, anew=alone or overwrite)
            try:
                yield ResultsFolder(out, making, earlier)
            finally:
                shutil.rmtree(making)
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
        shutil.rmtree(making)
    try:
        making.mkdir()
    except FileExistsError:
        words = f"another run writes into {shown_path(making.parent)}, or was interrupted ({UNFINISHED} is there)"
        raise ConfigError(words, advice=f"{_ANOTHER}; if no other runs, add --overwrite.") from None


def _earlier(out: Path, making: Path, *, overwrite: bool, alone: bool) -> frozenset[Path]:
    """Files that earlier runs put into `out`, if they may be removed and are all that lies where results go."""
    interrupted = alone and (making / REPORT).exists()
    reports = [path for path in (out / REPORT, making / REPORT) if path.exists()]
    listed = frozenset(out / name for report in reports for name in listed_files(report))
    foreign = sorted(path for name in FOLDERS for path in _entries(out / name) if path not in listed)
    if foreign:
        raise ConfigError(
            f"{shown_path(out)} holds {_named(out, foreign)}, of which no report.json in it says that a run of "
            "`whyray explain` wrote them: results would be mixed with them",
            advice=f"{_ANOTHER}, or move these files away.",
        )
    if reports and not overwrite:
        whose = "what an interrupted run left" if interrupted else "the results of an earlier run"
        raise ConfigError(
            f"{shown_path(out)} holds {whose}",
            advice=f"{_ANOTHER}, or add --overwrite: it removes the files that its report.json lists, and no others.",
        )
    return frozenset(path for path in listed if path.exists() or path.is_symlink())


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else [folder] if folder.exists() else []


def listed_files(report: Path) -> list[str]:
    """The files that a report of `whyray explain` lists, as paths in its folder; ConfigError for any other file."""
    try:
        content = json.loads(report.read_text("utf-8"))
        files = content["files"] if "whyray" in content else None
    except (ValueError, KeyError, TypeError):
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
