"""Whatever a library raises becomes an error that says what was made, where in WhyRay, and whether it may pass."""

from __future__ import annotations

import errno
import io
import json
import sqlite3
import struct
from pathlib import Path

import pytest
import redis
from pydicom import Dataset, dcmread
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError, PendingRollbackError, ProgrammingError

from whyray.base.errors import (
    CatalogDamaged,
    DecodeError,
    InternalError,
    PeerUnreachable,
    ResourceExhausted,
    WhyRayError,
)
from whyray.base.failures import activity, typed_error
from whyray.imaging import read_images


def raised(work: object) -> WhyRayError:
    try:
        work()  # type: ignore[operator]
    except Exception as error:
        return typed_error(error, "job 7")
    raise AssertionError("nothing was raised")


def test_a_defect_names_the_place_in_whyray_and_not_a_librarys() -> None:
    def work() -> None:
        with activity("making the Segmentation of Effusion"):
            read_images(3)  # type: ignore[arg-type]  # a defect of the caller's

    error = raised(work)
    assert isinstance(error, InternalError)
    assert error.message.startswith("job 7: TypeError in imaging/read.py line ")
    assert error.message.endswith(" while making the Segmentation of Effusion")


def test_the_innermost_activity_is_told() -> None:
    def work() -> None:
        with activity("writing the results"), activity("explaining Effusion with lrp"):
            json.loads("{")

    assert raised(work).message.endswith("while explaining Effusion with lrp")


def test_the_text_of_an_exception_is_not_told_since_it_may_quote_a_patient() -> None:
    def work() -> None:
        raise KeyError("Doe^Jane")

    assert "Doe" not in raised(work).message


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO])
def test_a_shortage_of_the_machine_may_pass(number: int) -> None:
    error = typed_error(OSError(number, "…"), "job 7")
    assert isinstance(error, ResourceExhausted)
    assert errno.errorcode[number] in error.message


def test_want_of_memory_may_pass() -> None:
    assert isinstance(typed_error(MemoryError()), ResourceExhausted)


def test_a_lost_or_locked_database_may_pass(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("gone")
    engine = create_engine(f"sqlite:///{folder}/not-there/catalog.sqlite")

    def work() -> None:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    error = raised(work)
    assert isinstance(error, PeerUnreachable)
    assert "the catalog can't be reached" in error.message


def test_what_a_session_raises_after_its_connection_broke_is_the_same_outage() -> None:
    def work() -> None:
        try:
            raise OperationalError("COMMIT", {}, Exception("terminating connection"))
        except OperationalError:
            raise PendingRollbackError("Can't reconnect until invalid transaction is rolled back.")  # noqa: B904

    assert isinstance(raised(work), PeerUnreachable)
    assert isinstance(typed_error(PendingRollbackError("…")), InternalError)


def test_a_full_disk_under_the_database_is_called_that() -> None:
    error = OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))
    assert isinstance(typed_error(error), ResourceExhausted)


def test_no_room_for_the_index_of_the_write_ahead_log_is_a_full_disk_too() -> None:
    """What SQLite says where a full disk keeps it from opening the catalog: 'disk I/O error'."""
    refusal = sqlite3.OperationalError("disk I/O error")
    refusal.sqlite_errorname = "SQLITE_IOERR_SHMSIZE"
    assert isinstance(typed_error(OperationalError("PRAGMA", {}, refusal)), ResourceExhausted)


def test_a_catalog_whose_folder_can_not_be_opened_is_no_matter_of_a_server(tmp_path: Path) -> None:
    error = raised(lambda: sqlite3.connect(tmp_path / "not-there" / "catalog.sqlite"))
    assert error.retriable
    assert "SQLITE_CANTOPEN" in error.message
    assert "owns the state folder" in error.advice


def test_a_damaged_catalog_is_no_defect_of_whyray(tmp_path: Path) -> None:
    """A copy of the file alone, without what lies beside it, may be as bad as this."""
    file = tmp_path / "catalog.sqlite"
    file.write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 64)
    engine = create_engine(f"sqlite:///{file}")

    def work() -> None:
        with engine.connect() as connection:
            connection.execute(text("SELECT name FROM sqlite_master"))

    error = raised(work)
    assert isinstance(error, CatalogDamaged)
    assert "restore the last backup" in error.advice


def test_a_wrong_statement_is_a_defect() -> None:
    assert isinstance(typed_error(ProgrammingError("SELEKT", {}, sqlite3.ProgrammingError("…"))), InternalError)


def test_a_lost_queue_may_pass() -> None:
    def work() -> None:
        redis.Redis(unix_socket_path="/nowhere/redis.sock").ping()

    error = raised(work)
    assert isinstance(error, PeerUnreachable)
    assert "the queue can't be reached" in error.message


def test_a_typed_error_is_itself() -> None:
    error = DecodeError("truncated")
    assert typed_error(error, "job 7") is error


def element(tag: tuple[int, int], representation: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", *tag, representation, len(value)) + value


def file_of(folder: Path, *elements: bytes) -> Path:
    """A Part 10 file in Explicit VR Little Endian."""
    syntax = element((2, 0x10), b"UI", b"1.2.840.10008.1.2.1\0")
    path = folder / "odd.dcm"
    path.write_bytes(
        b"\0" * 128 + b"DICM" + element((2, 0), b"UL", struct.pack("<I", len(syntax))) + syntax + b"".join(elements)
    )
    return path


@pytest.mark.parametrize(
    ("tag", "representation", "value", "name"),
    [
        ((0x28, 0x10), b"US", b"\1", "Rows (0028,0010)"),
        ((0x28, 0x30), b"FD", b"123", "PixelSpacing (0028,0030)"),
        ((0x28, 0x10), b"UL", b"12345", "Rows (0028,0010)"),
        ((0x29, 0x1010), b"FL", b"123", "(0029,1010)"),
    ],
)
def test_a_value_that_pydicom_can_not_convert_is_the_datas_fault_and_no_defect(
    tag: tuple[int, int], representation: bytes, value: bytes, name: str, tmp_path: Path
) -> None:
    header = dcmread(file_of(tmp_path, element(tag, representation, value)))
    with pytest.raises(Exception) as caught, activity("making the report"):
        header[tag]
    error = typed_error(caught.value, "job 7")
    assert isinstance(error, DecodeError)
    assert error.message.startswith(
        f"job 7: the value of {name} is none of the value representation {representation.decode()} ("
    )
    assert error.message.endswith("while making the report")


def test_the_element_is_told_and_no_value_with_it(tmp_path: Path) -> None:
    damaged = dcmread(file_of(tmp_path, element((0x10, 0x1030), b"UL", b"Doe^J")))
    error = raised(lambda: damaged.PatientWeight)
    assert "PatientWeight (0010,1030)" in error.message
    assert "Doe" not in error.message


def test_a_value_of_our_own_that_pydicom_refuses_is_a_defect() -> None:
    made = Dataset()
    made.add_new((0x28, 0x30), "FD", b"none")
    with pytest.raises(Exception) as caught:
        made.save_as(io.BytesIO(), implicit_vr=False, little_endian=True)
    assert isinstance(typed_error(caught.value), InternalError)
