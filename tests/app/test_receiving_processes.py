"""Instances that are taken in by processes beside the one that listens: the promise and the limits are the same."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from sqlalchemy import select

from intake.raw import ACCEPTED, RELEASED, RawPeer
from intake.scu import NoAssociationError, Sender, digest, encode, small, uid
from peers import until
from whyray.app.context import Context
from whyray.app.receiving import receiving_tools, start_receiving_process
from whyray.catalog import Event, Instance, Study, audit
from whyray.config import load_config
from whyray.intake import NotReady, StorageScp, start_listener

PROCESSES = 2
"""Beside the one that listens."""
CONFIG = """
state: state
listener:
  address: 127.0.0.1
  port: 11112
  accept_unknown_peers: true
  processes: 3
  limits: {min_free_disk: 0B, max_associations: 3, max_per_address: 3, max_per_ae_title: 3}
"""


class Installation:
    """A listener with its receiving processes, on a free port, and what it told."""

    def __init__(self, folder: Path) -> None:
        (folder / "whyray.yaml").write_text(CONFIG)
        self.context = Context.open(folder / "whyray.yaml")
        self.released = threading.Event()
        config = self.context.config()
        self.scp: StorageScp = start_listener(
            config.listener.model_copy(update={"port": 0}),
            self.context.catalog,
            self.context.storage,
            **receiving_tools(self.context),
            on_release=self.released.set,
            start_process=partial(start_receiving_process, folder / "whyray.yaml", config),
        )
        until(lambda: len(self.pids) == PROCESSES, what="processes that receive", deadline=60)

    @property
    def pids(self) -> list[int]:
        assert self.scp._processes is not None
        return self.scp._processes.pids

    @property
    def port(self) -> int:
        assert self.scp.port is not None
        return self.scp.port

    def events(self, kind: str) -> list[Event]:
        with self.context.catalog.read() as session:
            return list(session.scalars(select(Event).where(Event.kind == kind)))

    def close(self) -> None:
        self.scp.stop(grace=1.0)
        self.context.close()


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    installation = Installation(tmp_path_factory.mktemp("installation"))
    yield installation
    installation.close()


def connections_of(pid: int) -> int:
    """How many sockets of the network a process has open."""
    inodes = {line.split()[9] for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]}
    count = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            count += str(descriptor.readlink()).removeprefix("socket:[").rstrip("]") in inodes
    return count


@pytest.mark.timeout(180)
def test_associations_are_spread_and_counted_over_all_processes(installation: Installation) -> None:
    with RawPeer(installation.port) as one, RawPeer(installation.port) as two, RawPeer(installation.port) as three:
        assert [peer.associate()[0] for peer in (one, two, three)] == [ACCEPTED] * 3
        assert [connections_of(pid) for pid in installation.pids] == [1, 1]
        with RawPeer(installation.port) as fourth:
            assert fourth.associate()[0] != ACCEPTED
        until(lambda: installation.events("intake.limit"), what="the event of the limit")
        assert installation.scp.associations == 3
        assert one.release() == RELEASED
        until(lambda: installation.scp.associations == 2, what="one association less")
        with RawPeer(installation.port) as fourth:
            assert fourth.associate()[0] == ACCEPTED
            assert fourth.release() == RELEASED
        for peer in (two, three):
            assert peer.release() == RELEASED
    until(lambda: installation.scp.associations == 0, what="the end of all associations")
    assert [connections_of(pid) for pid in installation.pids] == [0, 0]


@pytest.mark.timeout(180)
def test_instances_are_kept_once_and_their_release_is_told(installation: Installation) -> None:
    with Sender(installation.port) as one, Sender(installation.port) as two:
        for number in range(1, 7):
            for sender in (one, two):
                assert sender.store(encode(small(number)), uid("1", number)).Status == 0
        assert one.store(b"nonsense", uid("1", 9)).Status == 0xC000
    until(installation.released.is_set, what="the release")
    with installation.context.catalog.read() as session:
        of_study = select(Instance).where(Instance.sop_instance_uid.in_([uid("1", number) for number in range(1, 7)]))
        assert len(list(session.scalars(of_study))) == 6
        study = session.scalars(select(Study).where(Study.study_instance_uid == small(1).StudyInstanceUID)).one()
        assert study.received_sequence == 6
        assert audit.verify(session).broken_at is None
    assert len(installation.events("intake.not-understood")) == 1


class Modality(threading.Thread):
    """Sends one instance after another, whatever happens, and writes down which were acknowledged."""

    def __init__(self, number: int, port: int) -> None:
        super().__init__(daemon=True)
        self.number, self.port = number, port
        self.acknowledged: dict[str, str] = {}
        self.stopping = threading.Event()

    def run(self) -> None:
        sent = 0
        while not self.stopping.is_set():
            try:
                with Sender(self.port) as sender:
                    while not self.stopping.is_set():
                        sent += 1
                        instance = small(sent, study=f"M{self.number}-{sent // 10}", pixels=os.urandom(2048))
                        data = encode(instance)
                        if sender.store(data, instance.SOPInstanceUID).Status == 0:
                            self.acknowledged[instance.SOPInstanceUID] = digest(data)
            except (NoAssociationError, RuntimeError, AttributeError):
                self.stopping.wait(0.005)


@pytest.mark.timeout(240)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_process_that_is_killed_takes_nothing_acknowledged_with_it_and_others_take_on(
    installation: Installation,
) -> None:
    seed = int(os.environ.get("WHYRAY_TEST_SEED", random.SystemRandom().randrange(2**32)))
    sys.stdout.write(f"WHYRAY_TEST_SEED={seed}\n")
    moments = random.Random(seed)
    senders = [Modality(number, installation.port) for number in range(2)]
    for sender in senders:
        sender.start()
    for _ in range(4):
        before = [len(sender.acknowledged) for sender in senders]
        time.sleep(moments.uniform(0.0, 0.4))  # the moment of the kill, not a wait for anything
        if pids := installation.pids:
            with suppress(ProcessLookupError):
                os.kill(moments.choice(pids), signal.SIGKILL)
        until(_more_than(before, senders), what="senders that go on", deadline=60)
    for sender in senders:
        sender.stopping.set()
    for sender in senders:
        sender.join(60)
    until(lambda: installation.scp.associations == 0, what="the end of all associations")
    assert installation.events("intake.process-ended")
    acknowledged = {uid: sha256 for sender in senders for uid, sha256 in sender.acknowledged.items()}
    with installation.context.catalog.read() as session:
        rows = {row.sop_instance_uid: row for row in session.scalars(select(Instance))}
        assert audit.verify(session).broken_at is None
    assert [uid for uid, sha256 in acknowledged.items() if uid not in rows or rows[uid].sha256 != sha256] == []
    assert [uid for uid in acknowledged if not installation.context.storage.exists(rows[uid].key)] == []


def _more_than(before: list[int], senders: list[Modality]) -> Callable[[], bool]:
    return lambda: all(len(sender.acknowledged) > count for sender, count in zip(senders, before, strict=True))


@pytest.mark.timeout(180)
def test_stopping_lets_an_association_finish_what_it_sends_and_leaves_no_process(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    pids = installation.pids
    with Sender(installation.port) as sender:
        assert sender.store(encode(small(1)), uid("1", 1)).Status == 0
        stopping = threading.Thread(target=installation.scp.stop, kwargs={"grace": 20.0})
        stopping.start()
        until(lambda: installation.scp._stopped, what="the stop")
        assert sender.store(encode(small(2)), uid("1", 2)).Status == 0
    stopping.join(30)
    assert not stopping.is_alive()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    with installation.context.catalog.read() as session:
        assert len(list(session.scalars(select(Instance)))) == 2
    installation.context.close()


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ("storage: {folder: elsewhere}", "storage"),
        ("catalog: {url: 'sqlite:///elsewhere.sqlite'}", "catalog"),
    ],
)
def test_a_process_does_not_start_with_settings_that_the_one_that_listens_has_not(
    tmp_path: Path, changed: str, name: str
) -> None:
    path = tmp_path / "whyray.yaml"
    path.write_text(CONFIG)
    config = load_config(path)
    path.write_text(f"{CONFIG}{changed}\n")
    own, its = Pipe()
    passing, its_passing = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with own, passing:
        with its, its_passing:
            process = start_receiving_process(path, config, its.fileno(), its_passing.fileno())
        said = own.recv()
        assert isinstance(said, NotReady)
        assert f"what the configuration file has anew: {name}" in said.words
        assert process.wait(60) != 0
    assert [path.name for path in tmp_path.rglob("elsewhere*")] == []


def test_a_process_that_can_not_start_is_told_with_its_reason_and_the_listener_serves(tmp_path: Path) -> None:
    folder = tmp_path
    (folder / "whyray.yaml").write_text(CONFIG)
    with closing(Context.open(folder / "whyray.yaml")) as context:

        def start(messages: int, connections: int) -> subprocess.Popen[bytes]:
            with socket.socket(fileno=os.dup(connections)), Connection(os.dup(messages)) as connection:
                connection.send(NotReady("can't take anything in: for this reason"))
            return subprocess.Popen(["true"])

        listener = context.config().listener.model_copy(update={"port": 0})
        scp = start_listener(listener, context.catalog, context.storage, start_process=start)
        query = select(Event).where(Event.kind == "intake.process-ended")

        def told() -> list[Event]:
            with context.catalog.read() as session:
                return list(session.scalars(query))

        until(told, what="the event")
        assert "can't take anything in: for this reason" in told()[0].message
        with Sender(scp.port) as sender:
            assert sender.store(encode(small(1)), uid("1", 1)).Status == 0
        scp.stop(grace=1.0)


@pytest.mark.timeout(180)
def test_a_process_outlives_sigterm_but_not_the_one_that_listens(tmp_path: Path) -> None:
    (tmp_path / "whyray.yaml").write_text(CONFIG)
    program = (
        "import sys; from multiprocessing import Pipe; from pathlib import Path; import socket, time\n"
        "from whyray.app.receiving import start_receiving_process; from whyray.config import load_config\n"
        "from whyray.intake.catalog_turn import shared_turn_file\n"
        "(own, its), (a, b) = Pipe(), socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
        "path = Path(sys.argv[1])\n"
        "child = start_receiving_process(path, load_config(path), its.fileno(), b.fileno())\n"
        "turn = shared_turn_file(); socket.send_fds(a, [b't'], [turn.fileno()])\n"
        "own.recv(); print(child.pid, flush=True); time.sleep(300)\n"
    )
    listening = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "whyray.yaml")], stdout=subprocess.PIPE, text=True
    )
    assert listening.stdout is not None
    pid = int(listening.stdout.readline())
    os.kill(pid, signal.SIGTERM)  # which the one that listens tells it of in its own time
    assert Path(f"/proc/{pid}").exists()
    listening.kill()
    listening.wait()
    until(lambda: not Path(f"/proc/{pid}").exists(), what="the end of the process")
    listening.stdout.close()
