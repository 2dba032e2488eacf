"""Whatever a library raises becomes an error that says what was made, where in WhyRay, and whether it may pass."""

from __future__ import annotations

import errno
import json
import sqlite3

import pytest
import redis
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from whyray.errors import DecodeError, InternalError, PeerUnreachable, ResourceExhausted, WhyRayError
from whyray.failures import activity, typed_error
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

    found = raised(work)
    assert isinstance(found, InternalError)
    assert found.message.startswith("job 7: TypeError in imaging/read.py line ")
    assert found.message.endswith(" while making the Segmentation of Effusion")


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
    found = typed_error(OSError(number, "…"), "job 7")
    assert isinstance(found, ResourceExhausted)
    assert errno.errorcode[number] in found.message


def test_want_of_memory_may_pass() -> None:
    assert isinstance(typed_error(MemoryError()), ResourceExhausted)


def test_a_lost_or_locked_database_may_pass(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("gone")
    engine = create_engine(f"sqlite:///{folder}/not-there/catalog.sqlite")

    def work() -> None:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    found = raised(work)
    assert isinstance(found, PeerUnreachable)
    assert "the catalog can't be reached" in found.message


def test_a_full_disk_under_the_database_is_called_that() -> None:
    error = OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))
    assert isinstance(typed_error(error), ResourceExhausted)


def test_a_wrong_statement_is_a_defect() -> None:
    assert isinstance(typed_error(ProgrammingError("SELEKT", {}, sqlite3.ProgrammingError("…"))), InternalError)


def test_a_lost_queue_may_pass() -> None:
    def work() -> None:
        redis.Redis(unix_socket_path="/nowhere/redis.sock").ping()

    found = raised(work)
    assert isinstance(found, PeerUnreachable)
    assert "the queue can't be reached" in found.message


def test_a_typed_error_is_itself() -> None:
    error = DecodeError("truncated")
    assert typed_error(error, "job 7") is error
