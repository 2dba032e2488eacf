"""Why a role could not start, or ended: entered in the catalog, so that status and admin page say the reason."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from whyray.app.kept_config import config_to_ask_by
from whyray.base.errors import WhyRayError
from whyray.base.failures import typed_error
from whyray.catalog import Catalog, processes

ROLE_OF_SUPERVISOR = "WHYRAY_ROLE"
"""Environment variable in which `whyray serve` tells a role its own name, since there may be several workers."""
_ADVICE = "Report it with the log of the role. `whyray --log-level debug` adds the trace to it."
_log = logging.getLogger("whyray.roles")


def name_of(role: str) -> str:
    """How a role of this machine is called, whichever process runs it: 'worker 2@whyray-1'."""
    return f"{os.environ.get(ROLE_OF_SUPERVISOR) or role}@{platform.node()}"


def process_name(role: str, pid: int) -> str:
    """How one process of a role of this machine is called."""
    return f"{role}@{platform.node()}:{pid}"


@contextmanager
def telling_why(role: str, config: Path) -> Iterator[None]:
    """Enter in the catalog why this role ends, where it ends by an error; the error goes on."""
    try:
        yield
    except Exception as error:  # told whatever it is, and passed on
        name, typed = name_of(role), typed_error(error, advice=_ADVICE)
        try:
            url = config_to_ask_by(config).catalog_url
        except WhyRayError:
            _log.debug("why %s ended is not in the catalog: its configuration is not known", name)
        else:
            enter_end(url, role, name, typed)
        raise


def enter_end(catalog_url: str, role: str, name: str, error: WhyRayError, pid: int | None = None) -> None:
    """Enter it, where there is a catalog that can be reached; the log has it anyhow.

    `pid`: the process of this machine that is known to be gone, so that it is not looked for any more.
    """
    url = make_url(catalog_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        return
    try:
        catalog = Catalog(url, migrate=False)
        try:
            with catalog.begin() as session:
                processes.ended(session, name, role, catalog.clock(), error)
                if pid is not None:
                    processes.gone(session, process_name(role, pid))
        finally:
            catalog.close()
    except (SQLAlchemyError, OSError) as why:
        _log.warning("why %s ended is not in the catalog: %s", name, type(why).__name__)
