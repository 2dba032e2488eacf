"""The processes that take instances in beside the one that listens: how they are started, and their program."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from pydicom import Dataset

from whyray.app.checked_source import CHECKED_BY_SUPERVISOR, fingerprint
from whyray.app.context import Context
from whyray.base.errors import ConfigError
from whyray.base.failures import logged
from whyray.config import Config, DicomDestination

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from whyray.intake import ReportAddress

_KEPT_BY_LISTENER = "WHYRAY_KEPT_BY_LISTENER"
"""Environment variable in which a receiving process is told `_kept_until_restart`."""
_log = logging.getLogger("whyray.intake")


class ReceivingTools(TypedDict):
    """What intake is given from other rooms, in whichever process it takes instances in; see `start_listener`."""

    is_own: Callable[[Dataset], bool]
    report_to: Callable[[str], ReportAddress | None]
    handlers: Sequence[tuple[Any, ...]]


def receiving_tools(context: Context) -> ReceivingTools:
    """Those of this installation."""
    from whyray.delivery import commitment_handlers
    from whyray.routing import is_own_result

    def is_own(header: Dataset) -> bool:
        # what the catalog knows of it, intake asks as it enters the instance there
        return is_own_result(header, context.config().uid_root, lambda _uid: False) is not None

    return {
        "is_own": is_own,
        "report_to": lambda ae_title: report_address(context.config(), ae_title),
        "handlers": commitment_handlers(context.catalog),
    }


def report_address(config: Config, ae_title: str) -> ReportAddress | None:
    """Where this AE takes reports of storage commitment; None if the configuration does not say."""
    from whyray.intake import ReportAddress

    peer, tls = config.listener.peers.get(ae_title), config.listener.tls
    if peer is not None and peer.port is not None:
        # who has to come by TLS is not called without
        return ReportAddress(peer.address[0], peer.port, tls.client_context if peer.tls and tls is not None else None)
    for destination in config.destinations.values():
        if isinstance(destination, DicomDestination) and destination.ae_title == ae_title:
            by = None if destination.tls is None else destination.tls.context
            return ReportAddress(destination.host, destination.port, by)
    return None


def _kept_until_restart(config: Config) -> dict[str, str]:
    """What a process that listens keeps until it is started again, and one that receives beside it has to share.

    Digests, by the name of the setting: a URL may hold a password.
    """
    storage = config.storage.model_dump_json()
    settings = {
        "state": os.fspath(config.state),
        "storage": f"{config.storage_folder} {storage}",
        "catalog": config.catalog_url,
        "listener.tls": str(config.listener.tls is not None),
    }
    return {name: hashlib.sha256(os.fsencode(value)).hexdigest() for name, value in settings.items()}


def _agree(config: Config) -> None:
    """Raises ConfigError where the process that listens was started with other settings than these."""
    kept, now = json.loads(os.environ[_KEPT_BY_LISTENER]), _kept_until_restart(config)
    changed = ", ".join(name for name in now if kept[name] != now[name])
    if changed:
        raise ConfigError(
            f"the process that listens keeps until its next start what the configuration file has anew: {changed}",
            advice="Start intake again.",
        )


def start_receiving_process(path: Path, config: Config, messages: int, connections: int) -> subprocess.Popen[bytes]:
    """One process that takes instances in, by the configuration that this one has checked; see `StartProcess`."""
    level = logging.getLevelName(logging.getLogger().getEffectiveLevel()).lower()
    program = (sys.executable, "-m", "whyray", "--log-level", level, "receiving-process")
    return subprocess.Popen(  # nosec B603  # WhyRay itself, without a shell
        [*program, str(messages), str(connections), "--config", str(path)],
        pass_fds=[messages, connections],
        env=os.environ
        | {
            CHECKED_BY_SUPERVISOR: fingerprint(config, path.absolute().parent),
            _KEPT_BY_LISTENER: json.dumps(_kept_until_restart(config)),
        },
        # Ctrl-C is for the process that listens, which lets associations come to their end
        start_new_session=True,
    )


def run_receiving_process(path: Path, messages: int, connections: int) -> None:
    """Take in what comes on the connections that the listening process hands over, until it is gone.

    Raises
    ------
    ConfigError
        If it can't work by the configuration, which the listening process is told.
    """
    from whyray.base.allocator import settle
    from whyray.intake import ListeningProcess, NotReady, serve_connections_of

    listening = ListeningProcess(Connection(messages))
    # what ends a whole service reaches every process of it: the one that listens says when, as long as it is there
    parent = os.getppid()
    signal.signal(signal.SIGTERM, lambda *_: None if os.getppid() == parent else os._exit(0))
    try:
        context = Context.open(path, check_apart=True, agree=_agree)
    except ConfigError as error:
        listening.say(NotReady(f"can't take anything in: {error.message}"))
        raise
    code = 1
    try:
        settle()
        serve_connections_of(
            listening,
            socket.socket(fileno=connections),
            lambda: context.config().listener,
            context.catalog,
            context.storage,
            **receiving_tools(context),
            reload=context.source.reload_if_changed,
        )
        code = 0
    except Exception as error:  # told here: nothing is told after `_exit`
        logged(_log, error, "a receiving process")
    finally:
        # threads that still wait for something keep nobody waiting
        os._exit(code)
