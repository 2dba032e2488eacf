"""Runs listeners to be killed: forks one for each line on standard input, so that none pays for the imports again.

`python crash_child.py FOLDER PORT DICOMWEB_PORT`; answers each line with the process id of a listener that listens.
"""

from __future__ import annotations

import os
import sys
import threading
from itertools import cycle
from pathlib import Path

from intake.conftest import listener_settings
from intake.web import dicomweb
from whyray.base.sealing import SealingKeys
from whyray.catalog import Catalog, sqlite_url
from whyray.intake import start_listener
from whyray.storage import FolderStorage

KEYS = SealingKeys(b"crash" * 6 + b"ab")


def listen(folder: Path, port: int, web_port: int, keys: SealingKeys | None) -> None:
    catalog = Catalog(sqlite_url(folder / "catalog.sqlite"))
    web = dicomweb().model_copy(update={"port": web_port})
    start_listener(listener_settings(port=port, dicomweb=web), catalog, FolderStorage(folder / "instances", keys=keys))
    sys.stdout.write(f"{os.getpid()}\n")
    sys.stdout.flush()
    threading.Event().wait()


def main() -> None:
    folder, port, web_port = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    # every other listener encrypts what it takes: the promise is the same
    for keys, _ in zip(cycle((None, KEYS)), sys.stdin, strict=False):
        child = os.fork()
        if child == 0:
            try:
                listen(folder, port, web_port, keys)
            finally:
                os._exit(1)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
