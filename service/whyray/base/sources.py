"""The clock and the sources of new identifiers, passed in where they are needed, so that callers can fix them."""

from __future__ import annotations

import hashlib
import platform
import sys
import sysconfig
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

Clock = Callable[[], datetime]
"""Says what time it is, timezone-aware."""
IdSource = Callable[[], str]
"""Gives another identifier each time."""


def system_clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def is_due(last: datetime | None, every: timedelta, now: datetime) -> bool:
    """Whether what was done `last`, or never, is to be done again; at once where the clock was set back since."""
    return last is None or not timedelta(0) <= now - last < every


def waits_by_the_wall_clock() -> bool:
    """Whether a wait with a time limit in this Python lasts longer where the clock is set back meanwhile.

    So it does in one that was built without sem_clockwait, for a glibc before 2.30 or for musl.
    """
    return sys.platform == "linux" and not sysconfig.get_config_var("HAVE_SEM_CLOCKWAIT")


@cache
def this_boot() -> str:
    """What tells this run of this machine from others: `time.monotonic` goes on in it, across processes.

    At most 96 characters. Where the system does not tell, it is this process alone.
    """
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/time').readlink()}"  # a container may have a monotonic clock of its own
    return f"{platform.node()[:40]} {uuid.uuid4()}"


@cache
def this_pid_namespace() -> str:
    """What tells in which namespace of which run of this machine a process's number is its own: 8 hexadecimal digits.

    Containers may have the name of their machine, and numbers of their own. Where the system does not tell, it is this
    process alone.
    """
    namespace = ""
    with suppress(OSError):
        namespace = str(Path("/proc/self/ns/pid").readlink())
    return hashlib.sha256(f"{this_boot()} {namespace or uuid.uuid4()}".encode()).hexdigest()[:8]


def random_id() -> str:
    """A random UUID (version 4), 36 characters: for rows of the catalog, never sent to anybody."""
    return str(uuid.uuid4())


def random_uid() -> str:
    """A random DICOM UID below 2.25 (PS3.5 section B.2), at most 44 characters."""
    return f"2.25.{uuid.uuid4().int}"
