"""A process for jobs that read, compute and store as long as a test says: run as `paced.py FOLDER CATALOG FD`.

What a job does is a line in FOLDER/done: 'JOB reads', 'JOB computes', 'JOB leaves the device'. It stays in a stage
while FOLDER holds a file 'hold JOB STAGE', and ends its process in one of which there is a file 'crash JOB STAGE'.
With 'freeze JOB STAGE' it stays there for ever and tells no progress. A process is a line 'PID starts' in
FOLDER/starts, and 'JOB PID' in FOLDER/who. It takes no orders while there is a file 'hold start'.
Memory for what JOB reads is short as long as the processes live whose ids are in FOLDER/'short JOB'.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from whyray.base.errors import ResourceExhausted
from whyray.jobs.device_turn import Device
from whyray.jobs.explanation_request import Progress
from whyray.jobs.job_messages import Order
from whyray.jobs.job_process import WorkOnOrder, take_orders

folder = Path(sys.argv[1])


def work(order: Order, progress: Progress, device: Device) -> None:
    def stays(stage: str) -> None:
        tell(f"{order.job_id} {stage}")
        if (folder / f"crash {order.job_id} {stage}").exists():
            os._exit(3)
        while (folder / f"freeze {order.job_id} {stage}").exists():
            time.sleep(0.02)
        held: Callable[[], bool] = (folder / f"hold {order.job_id} {stage}").exists
        while held():
            progress(0.5, stage)
            time.sleep(0.02)

    with (folder / "who").open("a") as file:
        file.write(f"{order.job_id} {os.getpid()}\n")
    stays("reads")
    short = folder / f"short {order.job_id}"
    if short.exists() and any(Path(f"/proc/{pid}").exists() for pid in short.read_text().split()):
        raise ResourceExhausted("a study is kept elsewhere")
    with device():
        stays("computes")
    stays("leaves the device")

    from whyray.catalog import Catalog, jobs

    catalog = Catalog(sys.argv[2])
    with catalog.begin() as session:
        jobs.finish(session, order.job_id, order.owner, [], [], catalog.clock())


def tell(words: str) -> None:
    with (folder / "done").open("a") as file:
        file.write(f"{words}\n")


def open_up() -> tuple[dict[str, str], WorkOnOrder]:
    with (folder / "starts").open("a") as file:
        file.write(f"{os.getpid()} starts\n")
    while (folder / "hold start").exists():
        time.sleep(0.02)
    return {"pid": str(os.getpid())}, work


take_orders(Connection(int(sys.argv[3])), open_up)
