"""Real peers for tests: Orthanc, dcmtk's storescp, Redis. Each in a folder and on ports of its own, ready when given.

A factory fixture starts as many as a test asks for and stops them all when it ends; `shared_orthanc` and `shared_redis`
are one for the whole session, for tests that only need any. Waiting is always for a condition, with a deadline:
`until(lambda: ...)`.
"""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pydicom
import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from whyray.demo.modality import Modality
from whyray.demo.orthanc import OrthancServer, find_orthanc

T = TypeVar("T")

__all__ = ["Modality", "OrthancFactory", "OrthancServer", "RedisServer", "StoreScp", "free_port", "until"]


def free_port() -> int:
    """A TCP port of the loopback interface that nothing listens on, given to no other test of this machine.

    It lies below the ports that the system gives to outgoing connections, any of which could take it before the test
    listens there; a lock that this process keeps until it ends holds off tests of other processes.
    """
    for port in _PORTS:
        lock = os.open(_LOCKS / str(port), os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("", port))
        except OSError:
            os.close(lock)
            continue
        return port
    raise RuntimeError("no port of the loopback interface is free")


def _ports_in_some_order() -> Iterator[int]:
    """Ports 10000 to 32767, from one that differs from process to process."""
    first = random.Random(os.getpid()).randrange(10_000, 32_768)  # nosec B311 # a start, no secret
    yield from range(first, 32_768)
    yield from range(10_000, first)


_PORTS = _ports_in_some_order()
_LOCKS = Path(tempfile.gettempdir()) / "whyray-test-ports"
_LOCKS.mkdir(exist_ok=True)


def until(condition: Callable[[], T], *, what: str = "", deadline: float = 30.0) -> T:
    """Wait until `condition()` is true and give back what it said; fails the test after `deadline` seconds."""
    begun = time.monotonic()
    while True:
        if outcome := condition():
            return outcome
        waited = time.monotonic() - begun
        if waited > deadline:
            pytest.fail(f"{what or 'the condition'} did not come true within {deadline:.0f} s")
        # looking takes processor time from what is waited for: the longer it takes, the more seldom
        time.sleep(min(0.25, 0.02 + waited / 50))


def echoes(port: int, ae_title: str, *, host: str = "127.0.0.1") -> bool:
    """Whether an AE answers C-ECHO with success."""
    ae = AE("TESTS")
    ae.add_requested_context(Verification)
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = 5
    association = ae.associate(host, port, ae_title=ae_title)
    if not association.is_established:
        return False
    status = association.send_c_echo()
    association.release()
    return bool("Status" in status and status.Status == 0)


def require(program: str, package: str) -> str:
    """The path of a program that tests need; skips by name where it is missing."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed: apt-get install {package}")
    return path


# --- Orthanc -----------------------------------------------------------------------------------------------------
class OrthancFactory(Protocol):
    """Starts an Orthanc and waits until it answers."""

    def __call__(
        self,
        *,
        ae_title: str = "ORTHANC",
        modalities: Mapping[str, Modality] | None = None,
        lua: str | None = None,
        settings: Mapping[str, Any] | None = None,
        dicom_port: int | None = None,
        http_port: int | None = None,
    ) -> OrthancServer:
        """Ports are free ones where none is given."""
        ...


def _orthanc_factory(folder: Path, stack: ExitStack) -> OrthancFactory:
    def start(
        *,
        ae_title: str = "ORTHANC",
        modalities: Mapping[str, Modality] | None = None,
        lua: str | None = None,
        settings: Mapping[str, Any] | None = None,
        dicom_port: int | None = None,
        http_port: int | None = None,
    ) -> OrthancServer:
        if find_orthanc() is None:
            pytest.skip("Orthanc is not installed: apt-get install orthanc orthanc-dicomweb")
        server = OrthancServer(
            Path(tempfile.mkdtemp(prefix=f"{ae_title}-", dir=folder)),
            ae_title=ae_title,
            dicom_port=dicom_port or free_port(),
            http_port=http_port or free_port(),
            modalities=modalities,
            lua=lua,
            settings=settings,
        )
        stack.callback(server.kill)  # an orderly stop takes Orthanc 3 s, and nobody needs its database any more
        server.start()
        return server

    return start


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[OrthancFactory]:
    """A factory of Orthancs that live as long as the test."""
    with ExitStack() as stack:
        yield _orthanc_factory(tmp_path, stack)


@pytest.fixture(scope="session")
def shared_orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancServer]:
    """One Orthanc for the session, that knows no modality: send it studies with UIDs of your own."""
    with ExitStack() as stack:
        yield _orthanc_factory(tmp_path_factory.mktemp("shared-orthanc"), stack)(ae_title="SHARED")


# --- dcmtk -------------------------------------------------------------------------------------------------------
@dataclass
class StoreScp:
    """dcmtk's storescp, storing files as they come into `folder`."""

    folder: Path
    port: int
    ae_title: str
    options: Sequence[str] = ()
    host: str = "127.0.0.1"
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def __enter__(self) -> StoreScp:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start, and wait until it answers C-ECHO."""
        program = require("storescp", "dcmtk")
        self.folder.mkdir(parents=True, exist_ok=True)
        call = [program, "-aet", self.ae_title, "-od", str(self.folder), "+xa", *self.options, str(self.port)]
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                call, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "TCP_NODELAY": "1"}
            )
        until(lambda: echoes(self.port, self.ae_title), what="storescp's answer")

    def stop(self) -> None:
        """Stop and wait for the process to be gone."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait()

    def files(self) -> dict[str, Path]:
        """What came, by SOP Instance UID."""
        paths = (path for path in sorted(self.folder.iterdir()) if path.is_file())
        return {str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID): path for path in paths}


class StoreScpFactory(Protocol):
    """Starts a storescp and waits until it answers."""

    def __call__(self, *, ae_title: str = "STORESCP", options: Sequence[str] = ()) -> StoreScp:
        """`options` as on its command line."""
        ...


@pytest.fixture
def storescp(tmp_path: Path) -> Iterator[StoreScpFactory]:
    """A factory of dcmtk storage SCPs that live as long as the test."""
    with ExitStack() as stack:

        def start(*, ae_title: str = "STORESCP", options: Sequence[str] = ()) -> StoreScp:
            folder = Path(tempfile.mkdtemp(prefix=f"{ae_title}-", dir=tmp_path))
            return stack.enter_context(StoreScp(folder / "received", free_port(), ae_title, tuple(options)))

        yield start


# --- Redis -------------------------------------------------------------------------------------------------------
@dataclass
class RedisServer:
    """A Redis that keeps nothing on disk, reachable by TCP (`url`) and by a unix socket (`socket_url`, for Celery)."""

    folder: Path
    port: int
    options: tuple[str, ...] = ()
    """What else redis-server is started with."""
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """redis://host:port/0."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def socket_url(self) -> str:
        """redis+socket:///path, as Celery writes it."""
        return f"redis+socket://{self.folder / 'redis.sock'}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        program = require("redis-server", "redis-server")
        call = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        call += ["--dir", str(self.folder), "--unixsocket", str(self.folder / "redis.sock"), *self.options]
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(call, stdout=log, stderr=subprocess.STDOUT)
        until(self._answers, what="redis-server's answer")

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def stop(self) -> None:
        """Stop and wait for the process to be gone."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait()

    def kill(self) -> None:
        """End the process as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _redis(stack: ExitStack) -> RedisServer:
    # a unix socket's path may have 107 characters: pytest's own folders are often longer
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="redis-")))
    server = RedisServer(folder, free_port())
    stack.callback(server.stop)
    server.start()
    return server


@pytest.fixture
def redis_server() -> Iterator[Callable[[], RedisServer]]:
    """A factory of Redis servers that live as long as the test."""
    with ExitStack() as stack:
        yield lambda: _redis(stack)


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """One Redis for the session: use key prefixes or queue names of your own."""
    with ExitStack() as stack:
        yield _redis(stack)
