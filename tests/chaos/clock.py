"""A clock that jumps: Debian's libfaketime before the service, told by a file how far from now it is."""

from __future__ import annotations

import os
import shutil
import stat
from datetime import timedelta
from pathlib import Path

_LIBRARIES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib/faketime/libfaketimeMT.so.1")
_CACHED = 1
"""Seconds for which libfaketime may not have read the file again."""


def find_faketime() -> Path | None:
    """The library, if it is installed."""
    for pattern in _LIBRARIES:
        for path in sorted(Path("/").glob(pattern.lstrip("/"))):
            return path
    return None


class SimulatedClock:
    """The wall clock of all processes that have `environment`. Monotonic clocks and time-outs stay real."""

    def __init__(self, folder: Path, library: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file, self._folder, self._library = folder / "offset", folder, library
        self.offset = timedelta()
        self.furthest = timedelta()
        self._write()

    @property
    def environment(self) -> dict[str, str]:
        """For the service. Redis is kept out of it: its allocator does not start under a preloaded library."""
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": str(_CACHED),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
            "PATH": f"{self._plain_redis()}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(self._sleep_by_select()), os.environ.get("PYTHONPATH")])),
        }

    def jump(self, by: timedelta) -> None:
        """Set the clock forward, or back."""
        self.offset += by
        self.furthest = max(self.furthest, self.offset)
        self._write()

    def _write(self) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{self.offset.total_seconds():+.0f}\n")
        fresh.replace(self._file)

    def _plain_redis(self) -> Path:
        folder = self._folder / "bin"
        folder.mkdir(exist_ok=True)
        wrapper = folder / "redis-server"
        wrapper.write_text(f'#!/bin/sh\nunset LD_PRELOAD\nexec {shutil.which("redis-server")} "$@"\n')
        wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
        return folder

    def _sleep_by_select(self) -> Path:
        """libfaketime 0.9.10 refuses clock_nanosleep with an absolute time, by which Python sleeps."""
        folder = self._folder / "python"
        folder.mkdir(exist_ok=True)
        patch = (
            "import select\nimport time\n\ntime.sleep = lambda seconds: select.select([], [], [], seconds) and None\n"
        )
        (folder / "sitecustomize.py").write_text(patch)
        return folder
