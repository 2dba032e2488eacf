"""Encryption at rest: nothing readable lies on the disk, and nothing can be changed without being noticed."""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyray.base.errors import ConfigError, ResourceExhausted, SealBroken
from whyray.base.sealing import SEGMENT, START, SealingKeys, unsealed
from whyray.storage import FolderStorage, folder, open_folder, reseal_all, sweep_orphans

KEYS = SealingKeys(bytes(range(32)))
OTHER = SealingKeys(bytes(range(1, 33)))
_FIRST, _FURTHER = SEGMENT - 56, SEGMENT - 16
"""Plain bytes of the first segment, and of each further one."""


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    return open_folder(tmp_path / "store", KEYS)


def _on_disk(storage: FolderStorage) -> bytes:
    return b"".join(path.read_bytes() for path in storage.root.rglob("*") if path.is_file())


@pytest.mark.parametrize("size", [0, 1, _FIRST - 1, _FIRST, _FIRST + 1, _FIRST + _FURTHER, _FIRST + 2 * _FURTHER + 7])
def test_what_is_sealed_is_read_again_whatever_its_size(storage: FolderStorage, size: int) -> None:
    content = os.urandom(size)
    writer = storage.writer(prefix=content[:10])
    for start in range(10, size, 30_000):
        writer.write(content[start : start + 30_000])
        with writer.open() as so_far:
            assert so_far.read() == content[: start + 30_000]
    stored = writer.commit()
    assert (stored.size, stored.sha256) == (size, hashlib.sha256(content[10:]).hexdigest())
    with storage.open(stored.key) as file:
        assert file.read() == content
    with storage.local_file(stored.key) as path:
        assert path.read_bytes() == content
        assert not path.resolve().is_relative_to(storage.root)
    assert (storage.root / stored.key).stat().st_size == START + size + 16 * max(1, -(-(size + 40) // _FURTHER))


CONTENT = bytes(range(256)) * 900


@settings(max_examples=20, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, len(CONTENT) + 10), st.integers(0, 70_000)), max_size=8))
def test_a_sealed_file_is_read_from_anywhere_as_a_plain_one_is(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int]]
) -> None:
    storage = open_folder(tmp_path_factory.mktemp("store"), KEYS)
    plain = io.BytesIO(CONTENT)
    with storage.open(storage.put(CONTENT).key) as file:
        for position, count in steps:
            assert file.seek(position) == plain.seek(position)
            assert file.read(count) == plain.read(count)
            assert file.tell() == plain.tell()


def test_nothing_of_an_object_lies_readable_on_the_disk_while_it_is_written_nor_after(storage: FolderStorage) -> None:
    content = b"Doe^Jane" * 20_000
    writer = storage.writer(suffix=".dcm", prefix=b"Doe^Jane")
    writer.write(content)
    assert b"Doe^Jane" not in _on_disk(storage)
    with storage.local_file(writer.commit().key) as opened:
        assert opened.read_bytes() == b"Doe^Jane" + content
        assert b"Doe^Jane" not in _on_disk(storage)


@pytest.mark.parametrize("where", [0, 9, 16, 20, 50, START, START + SEGMENT, -1])
def test_a_byte_that_was_changed_is_noticed(storage: FolderStorage, where: int) -> None:
    file = storage.root / storage.put(CONTENT).key
    sealed = bytearray(file.read_bytes())
    sealed[where] ^= 1
    file.write_bytes(sealed)
    if where == 0:  # no sealed file any more: what is read is not what was stored, and it can't be told why
        assert storage.open(str(file.relative_to(storage.root))).read() != CONTENT
        return
    with pytest.raises(SealBroken), storage.open(str(file.relative_to(storage.root))) as opened:
        opened.read()


@pytest.mark.parametrize("kind", ["cut off", "a segment less", "segments swapped", "more at the end", "only the head"])
def test_what_was_cut_off_moved_or_added_is_noticed(storage: FolderStorage, kind: str) -> None:
    file = storage.root / storage.put(CONTENT).key
    sealed = file.read_bytes()
    ends = [16 + SEGMENT * number for number in range(1, 4)]
    file.write_bytes(
        {
            "cut off": sealed[:-20],
            "a segment less": sealed[: ends[2]],
            "segments swapped": sealed[: ends[0]]
            + sealed[ends[1] : ends[2]]
            + sealed[ends[0] : ends[1]]
            + sealed[ends[2] :],
            "more at the end": sealed + b"more",
            "only the head": sealed[:START],
        }[kind]
    )
    with pytest.raises(SealBroken), storage.open(str(file.relative_to(storage.root))) as opened:
        opened.read()


def test_a_large_object_is_written_and_read_with_little_memory(storage: FolderStorage) -> None:
    piece = os.urandom(1 << 20)
    tracemalloc.start()
    stored = storage.put(piece for _ in range(48))
    with storage.open(stored.key) as file:
        assert sum(len(part) for part in iter(lambda: file.read(1 << 20), b"")) == 48 << 20
        file.seek(40 << 20)
        assert file.read(100) == piece[:100]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_tink_reads_what_whyray_has_sealed(storage: FolderStorage) -> None:
    """The format is that of Tink's AES-GCM-HKDF streams, behind 16 bytes that name the key."""
    tink = pytest.importorskip("tink")
    from tink import secret_key_access, streaming_aead

    sealed = (storage.root / storage.put(CONTENT).key).read_bytes()
    streaming_aead.register()
    # google.crypto.tink.AesGcmHkdfStreamingKey: version 0, params {segment size, derived key size 32, SHA256}, the key
    size = bytes([0x08, *_varint(SEGMENT), 0x10, 32, 0x18, 3])
    key = bytes([0x12, len(size)]) + size + bytes([0x1A, 32]) + KEYS.current
    keyset = {
        "primaryKeyId": 1,
        "key": [
            {
                "keyData": {
                    "typeUrl": "type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey",
                    "value": base64.b64encode(key).decode(),
                    "keyMaterialType": "SYMMETRIC",
                },
                "status": "ENABLED",
                "keyId": 1,
                "outputPrefixType": "RAW",
            }
        ],
    }
    handle = tink.json_proto_keyset_format.parse(json.dumps(keyset), secret_key_access.TOKEN)
    primitive = handle.primitive(streaming_aead.StreamingAead)
    with primitive.new_decrypting_stream(io.BytesIO(sealed[16:]), sealed[:16]) as stream:
        assert stream.read() == CONTENT
    written = io.BytesIO()
    with primitive.new_encrypting_stream(written, sealed[:16]) as stream:
        stream.write(CONTENT)
        sealed_by_tink = sealed[:16] + _closed(stream, written)
    assert unsealed(io.BytesIO(sealed_by_tink), KEYS).read() == CONTENT


def _closed(stream: object, written: io.BytesIO) -> bytes:
    written.close = lambda: None  # type: ignore[method-assign]
    stream.close()  # type: ignore[attr-defined]
    return written.getvalue()


def _varint(number: int) -> Iterator[int]:
    while number > 127:
        yield number & 127 | 128
        number >>= 7
    yield number


def test_a_missing_or_wrong_key_is_refused_before_anything_is_done_and_told_what_to_do(tmp_path: Path) -> None:
    open_folder(tmp_path, KEYS).put(b"x")
    with pytest.raises(ConfigError, match="names no key") as missing:
        open_folder(tmp_path)
    assert "storage.encryption.key" in missing.value.advice
    with pytest.raises(ConfigError, match=KEYS.current_id) as wrong:
        open_folder(tmp_path, OTHER)
    assert "storage.encryption.former" in wrong.value.advice
    (tmp_path / "encryption.json").write_text("{")
    with pytest.raises(ConfigError, match="can't be read"):
        open_folder(tmp_path, KEYS)


def test_a_new_key_seals_and_the_former_still_opens_until_everything_is_sealed_anew(tmp_path: Path) -> None:
    plain = open_folder(tmp_path).put_bytes(b"before there was a key")
    old = open_folder(tmp_path, KEYS).put_bytes(b"under the old key")
    both = SealingKeys(OTHER.current, (KEYS.current,))
    storage = open_folder(tmp_path, both)
    new = storage.put_bytes(b"under the new key")
    contents = {plain: b"before there was a key", old: b"under the old key", new: b"under the new key"}
    assert {key: storage.open(key).read() for key in contents} == contents
    with pytest.raises(ConfigError, match=KEYS.current_id):
        open_folder(tmp_path, OTHER)
    assert reseal_all(storage) == 2
    alone = open_folder(tmp_path, OTHER)
    assert {key: alone.open(key).read() for key in contents} == contents
    assert b"before" not in _on_disk(alone)
    assert reseal_all(alone) == 0


def test_a_full_disk_and_a_killed_writer_are_told_and_cleared_as_without_encryption(storage: FolderStorage) -> None:
    script = (
        "import os, resource, signal; from pathlib import Path\n"
        "from whyray.base.errors import ResourceExhausted; from whyray.base.sealing import SealingKeys\n"
        "from whyray.storage import open_folder\n"
        f"storage = open_folder(Path({str(storage.root)!r}), SealingKeys(bytes(range(32))))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: storage.put(bytes(200_000))\n"
        "except ResourceExhausted: pass\n"
        "else: raise SystemExit('it was not told')\n"
        "# what comes last is written when it is made durable\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100_000)) \n"
        "try: storage.put(bytes(200))\n"
        "except ResourceExhausted: pass\n"
        "else: raise SystemExit('it was not told')\n"
        "assert not list((storage.root / 'incoming').iterdir())\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "writer = storage.writer(); writer.write(b'half' * 20_000); os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert len(list((storage.root / "incoming").iterdir())) == 1
    assert sweep_orphans(storage, lambda _: set(), datetime.now(UTC) + timedelta(days=1)) == 1


def test_a_text_that_was_sealed_belongs_where_it_was_sealed_for() -> None:
    sealed = KEYS.seal_text("12345", "audit record 1")
    assert "12345" not in sealed
    assert SealingKeys(OTHER.current, (KEYS.current,)).open_text(sealed, "audit record 1") == "12345"
    for keys, about in ((KEYS, "audit record 2"), (OTHER, "audit record 1")):
        with pytest.raises(SealBroken):
            keys.open_text(sealed, about)


@pytest.mark.parametrize(
    ("refused", "number"),
    [("memfd_create", errno.EMFILE), ("memfd_create", errno.ENOSPC), ("write", errno.EFBIG), ("write", errno.ENOMEM)],
)
def test_no_room_in_memory_for_an_opened_copy_is_this_machines_shortage_and_no_outage_of_storage(
    storage: FolderStorage, monkeypatch: pytest.MonkeyPatch, refused: str, number: int
) -> None:
    """It was waited out without end, and called a full disk."""

    def none_left(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    key = storage.put_bytes(b"x")
    if refused == "write":
        monkeypatch.setattr(folder, "write_all", none_left)
    else:
        monkeypatch.setattr(os, "memfd_create", none_left)
    with pytest.raises(ResourceExhausted, match=errno.errorcode[number]) as caught, storage.local_file(key):
        pass
    assert not caught.value.waited_out
    assert "disk" not in caught.value.message
