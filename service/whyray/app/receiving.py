"""The processes that take instances in beside the one that listens: how they are started, and their program."""

from __future__ import annotations

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
from whyray.catalog import studies
from whyray.config import Config, DicomDestination

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from whyray.intake import ReportAddress


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
        root = context.config().uid_root
        return is_own_result(header, root, lambda uid: studies.is_own(context.catalog, uid)) is not None

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


def start_receiving_process(path: Path, config: Config, messages: int, connections: int) -> subprocess.Popen[bytes]:
    """One process that takes instances in, by the configuration that this one has checked; see `StartProcess`."""
    level = logging.getLevelName(logging.getLogger().getEffectiveLevel()).lower()
    program = (sys.executable, "-m", "whyray", "--log-level", level, "receiving-process")
    return subprocess.Popen(  # nosec B603  # WhyRay itself, without a shell
        [*program, str(messages), str(connections), "--config", str(path)],
        pass_fds=[messages, connections],
        env=os.environ | {CHECKED_BY_SUPERVISOR: fingerprint(config, path.absolute().parent)},
        # Ctrl-C is for the process that listens, which lets associations come to their end
        start_new_session=True,
    )


def run_receiving_process(path: Path, messages: int, connections: int) -> None:
    """Take in what comes on the connections that the listening process hands over, until it is gone."""
    from whyray.base.allocator import settle
    from whyray.intake import ListeningProcess, serve_connections_of

    # what ends a whole service reaches every process of it: the one that listens says when
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    context = Context.open(path, check_apart=True)
    settle()
    serve_connections_of(
        ListeningProcess(Connection(messages)),
        socket.socket(fileno=connections),
        lambda: context.config().listener,
        context.catalog,
        context.storage,
        **receiving_tools(context),
        reload=context.source.reload_if_changed,
    )
    # threads that still wait for an answer get none any more
    os._exit(0)
