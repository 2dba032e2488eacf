"""A folder as storage: whole or not at all, durable before its key is given out, and nothing left behind."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyray.base.errors import NotFound, ResourceExhausted
from whyray.storage import FolderStorage, open_folder, sweep_orphans


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path / "store")


def _files(storage: FolderStorage) -> list[Path]:
    return [path for path in storage.root.rglob("*") if path.is_file()]


def _entered(storage: FolderStorage, key: str) -> Path:
    with storage.local_file(key) as file:
        return file


def _stream() -> object:
    return iter([b"abc", b"", b"def"])


@pytest.mark.parametrize("give", [lambda folder: b"abcdef", lambda folder: _stream(), lambda folder: _file(folder)])
def test_bytes_a_file_and_a_stream_are_kept_alike(
    storage: FolderStorage, tmp_path: Path, give: Callable[[Path], bytes]
) -> None:
    stored = storage.put(give(tmp_path), suffix=".dcm")
    assert (stored.sha256, stored.size) == (hashlib.sha256(b"abcdef").hexdigest(), 6)
    assert storage.open(stored.key).read() == (storage.root / stored.key).read_bytes() == b"abcdef"
    assert storage.exists(stored.key)
    assert stored.key.endswith(".dcm")


def _file(folder: Path) -> Path:
    file = folder / "finished"
    file.write_bytes(b"abcdef")
    return file


@settings(max_examples=25, deadline=None)
@given(pieces=st.lists(st.binary(max_size=5000), max_size=6), prefix=st.binary(max_size=400))
def test_what_is_written_is_read_and_the_digest_leaves_the_prefix_out(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], prefix: bytes
) -> None:
    storage = FolderStorage(tmp_path_factory.mktemp("store"))
    writer = storage.writer(prefix=prefix)
    for piece in pieces:
        writer.write(piece)
    assert writer.path.read_bytes() == prefix + b"".join(pieces)
    stored = writer.commit()
    assert storage.open(stored.key).read() == prefix + b"".join(pieces)
    assert stored.sha256 == hashlib.sha256(b"".join(pieces)).hexdigest()
    assert stored.size == len(prefix) + sum(map(len, pieces))


def test_a_file_is_synced_before_it_gets_its_name_and_its_folder_after_it(
    storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    sync, rename = os.fsync, os.rename

    def record_sync(handle: int) -> None:
        target = Path(f"/proc/self/fd/{handle}").readlink()
        steps.append(f"sync {target.parent.name if target.is_file() else 'folder ' + target.name}")
        sync(handle)

    def record_rename(source: str, target: str) -> None:
        steps.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(os, "rename", record_rename)
    shard = storage.put(b"first").key[:2]
    assert steps == ["sync incoming", "sync folder store", "rename", f"sync folder {shard}"]
    steps.clear()
    storage.put(b"first")
    assert steps == ["sync incoming", "rename", f"sync folder {shard}"]


def test_an_opened_folder_has_the_folders_of_all_keys_so_that_no_object_waits_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_folder(tmp_path / "store")
    made: list[Path] = []
    monkeypatch.setattr(Path, "mkdir", lambda path, **_: made.append(path))
    assert {path.name for path in storage.root.iterdir()} >= {f"{number:02x}" for number in range(256)}
    assert storage.exists(storage.put(b"first").key)
    assert made == []


def test_many_threads_make_the_folders_once(storage: FolderStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    mkdir = Path.mkdir

    def record(path: Path, **options: bool) -> None:
        made.append(path.name)
        mkdir(path, **options)

    monkeypatch.setattr(Path, "mkdir", record)
    threads = [threading.Thread(target=storage.put, args=(bytes([number]),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == len(set(made)) == 256
    assert len(_files(storage)) == 4


def test_folders_that_another_process_made_are_synced_before_an_object_lies_in_them(
    storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.make_shards()
    synced: list[Path] = []
    sync = os.fsync

    def record(handle: int) -> None:
        synced.append(Path(f"/proc/self/fd/{handle}").readlink())
        sync(handle)

    monkeypatch.setattr(os, "fsync", record)
    FolderStorage(storage.root).put(b"first")
    assert storage.root in synced


def test_equal_contents_have_keys_of_their_own_so_that_removing_one_keeps_the_other(storage: FolderStorage) -> None:
    first, second = storage.put(b"same"), storage.put(b"same")
    assert first.sha256 == second.sha256
    storage.delete(first.key)
    storage.delete(first.key)
    assert not storage.exists(first.key)
    assert storage.open(second.key).read() == b"same"


def test_keys_are_distinct_and_valid_on_filesystems_that_fold_case(storage: FolderStorage) -> None:
    keys = [storage.put(bytes([number]), suffix=".png").key for number in range(20)]
    assert len({key.lower() for key in keys}) == 20
    assert all(key == key.lower() and set(key) <= set("0123456789abcdefpng/-.") and len(key) < 100 for key in keys)


@pytest.mark.parametrize("key", ["", "../../etc/passwd", "ab/../../x", "/etc/passwd", "ab/short", "incoming/1-2"])
def test_no_key_leads_out_of_the_folder(storage: FolderStorage, key: str) -> None:
    for action in (storage.open, partial(_entered, storage), storage.delete, storage.exists):
        with pytest.raises(NotFound):
            action(key)


def test_a_key_without_bytes_is_not_found(storage: FolderStorage) -> None:
    key = storage.put(b"gone").key
    storage.delete(key)
    for action in (storage.open, partial(_entered, storage)):
        with pytest.raises(NotFound, match=key[:10]):
            action(key)


def test_a_local_file_is_the_folders_own_and_nothing_is_copied(storage: FolderStorage) -> None:
    key = storage.put(b"bytes", suffix=".dcm").key
    with storage.local_file(key) as file:
        assert file == storage.root / key
        assert len(_files(storage)) == 1
    assert storage.exists(key)


def test_a_stream_that_breaks_leaves_nothing(storage: FolderStorage) -> None:
    def broken() -> object:
        yield b"begun"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        storage.put(broken())  # type: ignore[arg-type]
    assert _files(storage) == []


def test_a_discarded_writer_leaves_nothing_and_cannot_harm_what_was_committed(storage: FolderStorage) -> None:
    writer = storage.writer()
    writer.write(b"x")
    writer.discard()
    writer.discard()
    assert _files(storage) == []
    committed = storage.writer()
    committed.write(b"y")
    stored = committed.commit()
    committed.discard()
    assert storage.open(stored.key).read() == b"y"


def test_a_disk_that_fills_up_is_told_and_nothing_is_left(storage: FolderStorage) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))
    try:
        with pytest.raises(ResourceExhausted, match="is full") as caught:
            storage.put(bytes(200_000))
        assert storage.put(bytes(50_000)).size == 50_000
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.retriable
    assert len(_files(storage)) == 1


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResourceExhausted, match="can't be written"):
        FolderStorage(tmp_path / "file" / "store")


def test_free_space_is_that_of_the_filesystem(storage: FolderStorage) -> None:
    statistics = os.statvfs(storage.root)
    assert storage.free_bytes() == pytest.approx(statistics.f_bavail * statistics.f_frsize, rel=0.2)


def test_many_threads_write_side_by_side(storage: FolderStorage) -> None:
    keys: list[str] = []

    def write(seed: int) -> None:
        keys.extend(storage.put(f"{seed} {number % 3}".encode()).key for number in range(10))

    threads = [threading.Thread(target=write, args=(seed % 2,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(keys)) == len(_files(storage)) == 60


def test_what_a_killed_writer_left_is_cleared_and_the_unknown_is_swept_but_not_the_young_nor_the_known(
    storage: FolderStorage,
) -> None:
    script = (
        "import os, sys, signal; from pathlib import Path; from whyray.storage import FolderStorage\n"
        f"writer = FolderStorage(Path({str(storage.root)!r})).writer()\n"
        "writer.write(b'half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    now = datetime.now(UTC)
    known, unknown, young = (storage.put(content).key for content in (b"known", b"unknown", b"young"))
    old = (now - timedelta(hours=7)).timestamp()
    for file in _files(storage):
        if file != storage.root / young:
            os.utime(file, (old, old))
    assert sweep_orphans(storage, lambda keys: {known} & set(keys), now) == 2
    assert {storage.exists(key) for key in (known, young)} == {True}
    assert not storage.exists(unknown)
    assert len(_files(storage)) == 2


def test_the_sweep_asks_for_few_keys_at_a_time_and_leaves_foreign_files_alone(storage: FolderStorage) -> None:
    for number in range(30):
        storage.put(bytes([number]))
    (storage.root / "ab").mkdir(exist_ok=True)
    (storage.root / "ab" / "README").write_text("not ours")
    asked: list[int] = []

    def nothing_known(keys: object) -> set[str]:
        asked.append(len(keys))  # type: ignore[arg-type]
        return set()

    removed = sweep_orphans(storage, nothing_known, datetime.now(UTC) + timedelta(hours=1), older_than=timedelta())
    assert removed == sum(asked) == 30
    assert [file.name for file in _files(storage)] == ["README"]
