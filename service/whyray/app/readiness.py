"""When all roles of a machine work, and where its admin page is: what `whyray serve` and the demo tell."""

from __future__ import annotations

import math
import platform
import threading
import time
from collections.abc import Callable, Collection
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError

from whyray.base.local_url import local_url
from whyray.catalog import Catalog, processes
from whyray.config import Config

ROLES = frozenset({"intake", "worker", "delivery", "admin"})


def admin_url(config: Config) -> str:
    """Where a browser on this machine finds the admin page."""
    return local_url(config.admin.address, config.admin.port, tls=config.admin.tls is not None)


def roles_at_work(catalog: Catalog, since: datetime) -> frozenset[str]:
    """Roles of this machine that have shown a sign of life since then, and that nothing keeps from their work.

    Empty while the catalog can't be read.
    """
    try:
        with catalog.read() as session:
            return frozenset(
                process.role
                for process in processes.all_processes(session)
                if process.seen_at >= since
                and platform.node() in process.name
                and processes.why_ended(process) is None
                and processes.hindrance(process) is None
            )
    except SQLAlchemyError:
        return frozenset()


def tell_when_ready(
    catalog: Catalog,
    roles: Collection[str],
    since: datetime,
    stop: threading.Event,
    tell: Callable[[str], None],
    *,
    within: float = math.inf,
    remind: float = 15.0,
) -> bool:
    """Name each role once it works, and after `remind` seconds of silence those that are still awaited.

    Returns whether all work; without waiting longer once `stop` is set or `within` seconds have passed.
    """
    waiting = set(roles)
    tell(f"starting: {', '.join(sorted(waiting))}")
    begun = told = time.monotonic()
    while waiting and not stop.is_set() and time.monotonic() - begun < within:
        ready = sorted(waiting & roles_at_work(catalog, since))
        waiting -= set(ready)
        awaited = f"waiting for {', '.join(sorted(waiting))}"
        if ready:
            tell(f"ready: {', '.join(ready)}" + (f"; {awaited}" if waiting else ""))
            told = time.monotonic()
        elif time.monotonic() - told >= remind:
            tell(f"still {awaited} ({round(time.monotonic() - begun)} s)")
            told = time.monotonic()
        if waiting:
            stop.wait(0.5)
    return not waiting
