"""A process for jobs whose work misbehaves as the first job's route says: run as `misbehaving.py HOW CATALOG FD`."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from multiprocessing.connection import Connection

from whyray.base.errors import PackageError
from whyray.jobs.device_turn import Device
from whyray.jobs.explanation_request import Progress
from whyray.jobs.job_messages import Order
from whyray.jobs.job_process import WorkOnOrder, take_orders

how = sys.argv[1]


def work(order: Order, progress: Progress, device: Device) -> None:
    progress(0.3, "explaining Effusion by rise")
    if how == "segfault":
        ctypes.string_at(0)
    elif how == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "ends":
        os._exit(3)
    elif how == "holds the lock":
        ctypes.PyDLL(None).sleep(600)
    elif how == "loops":
        while True:
            pass
    elif how == "eats":
        ballast = []
        while True:
            ballast.append(b"1" * (64 << 20))
    elif how == "runs long":
        while True:
            progress(0.4, "explaining Effusion by rise")
    elif how == "refuses":
        raise PackageError("planted@1.0.0: broken", advice="Mend it.")
    finish(order)


def finish(order: Order) -> None:
    from whyray.catalog import Catalog, jobs  # late: most of these processes never come here

    catalog = Catalog(sys.argv[2])
    with catalog.begin() as session:
        jobs.finish(session, order.job_id, order.owner, [], [], catalog.clock())


def open_up() -> tuple[dict[str, str], WorkOnOrder]:
    if how == "does not start":
        raise PackageError("no GPU", advice="Buy one.")
    return {"pid": str(os.getpid())}, work


take_orders(Connection(int(sys.argv[3])), open_up)
