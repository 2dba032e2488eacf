"""One `whyray serve` for a state folder: two would run two Redis servers and twice as many workers as it was given."""

from __future__ import annotations

import fcntl
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from whyray.base.errors import ConfigError

NAME = "serve.lock"


class StateLock:
    """Held by a process for as long as it lives; the kernel lets go of it when the process ends, however it ends."""

    def __init__(self, state: Path) -> None:
        self._path = state / NAME
        self._file: IO[str] | None = None

    def take(self) -> None:
        """Take it; harmless when it is held already.

        Raises
        ------
        ConfigError
            If another process holds it.
        """
        if self._file is not None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("a+", encoding="utf-8")  # not inherited by roles: PEP 446
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = self._holder(file)
            file.close()
            raise ConfigError(
                f"another `whyray serve`{holder} runs on the state folder {self._path.parent}",
                advice="Stop it first, or give this one a state folder of its own (`state` in the configuration).",
            ) from None
        file.truncate(0)
        json.dump({"process": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds")}, file)
        file.flush()
        self._file = file

    def release(self) -> None:
        """Let go of it; harmless when it is not held."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @staticmethod
    def _holder(file: IO[str]) -> str:
        file.seek(0)
        try:
            told = json.load(file)
            return f" (process {int(told['process'])}, since {datetime.fromisoformat(told['since']).isoformat()})"
        except (ValueError, KeyError, TypeError):  # taken in this moment, and not yet told
            return ""
