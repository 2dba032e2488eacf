"""The same kills of others: Orthanc, dcmtk's storescp and pynetdicom's storescp under a stream of instances.

Acknowledged is what the sender got status 0000 for; kept is what can be read after the last start, pixel for pixel.
Killed is the process alone: what the kernel had taken is on disk for it, as it is not after a cut of power.
"""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Protocol

import pydicom

from chaos.studies import film
from intake.scu import NoAssociationError, Sender, encode
from peers import OrthancServer, StoreScp, echoes, free_port, require, until

Say = Callable[[str], None]
_LARGER = 100
"""How often the pixels are laid out: an instance is 320 KB, so that kills strike within a write."""


class Peer(Protocol):
    """A storage SCP that can be killed and started again."""

    port: int
    ae_title: str

    def start(self) -> None:
        """Start, and wait until it answers."""

    def kill(self) -> None:
        """End it as a power cut would end the process."""

    def kept(self) -> tuple[dict[str, str], int]:
        """SOP Instance UID → digest of its pixels; and how many files can't be read."""


@dataclass
class Dcmtk:
    """dcmtk's storescp."""

    folder: Path
    port: int = field(default_factory=free_port)
    ae_title: str = "STORESCP"

    def __post_init__(self) -> None:
        self._scp = StoreScp(self.folder / "received", self.port, self.ae_title)

    def start(self) -> None:
        """Start."""
        self._scp.start()

    def kill(self) -> None:
        """Kill."""
        process, self._scp._process = self._scp._process, None
        if process is not None:
            process.kill()
            process.wait()

    def kept(self) -> tuple[dict[str, str], int]:
        """What lies in its folder."""
        return _in_folder(self._scp.folder)


@dataclass
class Pynetdicom:
    """pynetdicom's own application storescp."""

    folder: Path
    port: int = field(default_factory=free_port)
    ae_title: str = "STORESCP"
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start."""
        self.folder.mkdir(parents=True, exist_ok=True)
        call = [
            sys.executable,
            "-m",
            "pynetdicom",
            "storescp",
            "-q",
            "-od",
            str(self.folder / "received"),
            str(self.port),
        ]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(call, stdout=log, stderr=log)
        until(lambda: echoes(self.port, self.ae_title), what="pynetdicom's storescp", deadline=300)

    def kill(self) -> None:
        """Kill."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def kept(self) -> tuple[dict[str, str], int]:
        """What lies in its folder."""
        return _in_folder(self.folder / "received")


class Orthanc(OrthancServer):
    """Orthanc, as it comes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, dicom_port=free_port(), http_port=free_port())

    @property
    def port(self) -> int:
        """For DICOM."""
        return self.dicom_port

    def kept(self) -> tuple[dict[str, str], int]:
        """What its REST API gives out."""
        digests, broken = {}, 0
        for uid, identifier in self.instances().items():
            try:
                digests[uid] = _digest(pydicom.dcmread(BytesIO(self.file(identifier))))
            except Exception:  # whatever it is that can't be read
                broken += 1
        return digests, broken


def _digest(data: pydicom.Dataset) -> str:
    return hashlib.sha256(data.PixelData).hexdigest()


def _in_folder(folder: Path) -> tuple[dict[str, str], int]:
    digests, broken = {}, 0
    for path in folder.iterdir() if folder.is_dir() else ():
        try:
            data = pydicom.dcmread(path)
            uid, digest = str(data.SOPInstanceUID), _digest(data)
        except Exception:  # whatever it is that can't be read
            broken += 1
            continue
        digests[uid] = digest
    return digests, broken


PEERS: dict[str, tuple[Callable[[Path], Peer], str, str]] = {
    "Orthanc": (Orthanc, "Orthanc", "orthanc"),  # type: ignore[dict-item]
    "dcmtk storescp": (Dcmtk, "storescp", "dcmtk"),
    "pynetdicom storescp": (Pynetdicom, sys.executable, "python3"),
}


@dataclass
class Fate:
    """What became of the instances that one peer had."""

    kills: int
    acknowledged: int
    missing: int
    changed: int
    broken: int
    """Files left behind that can't be read."""


def killed(peer: Peer, *, seed: int, kills: int) -> Fate:
    """Kill a peer so often under a stream of instances, and count what is left."""
    chance = random.Random(seed)
    acknowledged: dict[str, str] = {}
    end = threading.Event()

    def send() -> None:
        number = 0
        while not end.is_set():
            number += 1
            data = film(f"peers {number}")
            data.PixelData = data.PixelData * _LARGER
            data.Rows = data.Rows * _LARGER
            with suppress(NoAssociationError, RuntimeError, OSError, AttributeError, StopIteration):
                contexts = ((str(data.SOPClassUID), ("1.2.840.10008.1.2.1",)),)
                with Sender(peer.port, called=peer.ae_title, contexts=contexts) as sender:
                    answer = sender.store(encode(data), str(data.SOPInstanceUID), str(data.SOPClassUID))
                    if answer.Status == 0:
                        acknowledged[str(data.SOPInstanceUID)] = _digest(data)
                continue
            end.wait(0.05)

    peer.start()
    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        for _ in range(kills):
            before = len(acknowledged)
            until(lambda before=before: len(acknowledged) > before, what="an acknowledged instance", deadline=300)
            time.sleep(chance.uniform(0.0, 0.4))  # the random moment itself
            peer.kill()
            peer.start()
    finally:
        end.set()
        thread.join(60)
    kept, broken = peer.kept()
    missing = sum(uid not in kept for uid in acknowledged)
    changed = sum(kept.get(uid, digest) != digest for uid, digest in acknowledged.items())
    peer.kill()
    return Fate(kills, len(acknowledged), missing, changed, broken)


def compared(seed: int, *, kills: int, say: Say) -> str:
    """A Markdown table of all peers that are installed."""
    lines = [
        "| who | kills −9 | acknowledged | lost | changed | unreadable files left behind |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, (made, program, package) in PEERS.items():
        try:
            require(program, package)
        except BaseException as missing:  # pytest's skip is no Exception
            say(f"{name}: {missing}")
            continue
        with tempfile.TemporaryDirectory(prefix="chaos-peer-") as folder:
            fate = killed(made(Path(folder) / "peer"), seed=seed, kills=kills)
        say(f"{name}: {fate}")
        lines.append(
            f"| {name} | {fate.kills} | {fate.acknowledged} | {fate.missing} | {fate.changed} | {fate.broken} |"
        )
    return "\n".join(lines)
