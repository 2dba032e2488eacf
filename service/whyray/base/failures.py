"""From whatever was raised to a typed error: what was being made, at which place of WhyRay, and whether it may pass.

Exceptions of libraries may quote a data set in their text, so that only their class is told.
"""

from __future__ import annotations

import errno
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from whyray.base.errors import (
    CatalogDamaged,
    DecodeError,
    InternalError,
    PeerUnreachable,
    ResourceExhausted,
    StorageUnavailable,
    WhyRayError,
)

_HERE = Path(__file__).resolve().parents[1]
_SHORTAGES = {errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO}
_AWAY = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ESTALE),
    *(errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.EREMOTEIO),
}
"""Of a file: its rights were changed, its disk is gone, its share does not answer or is another one now. Not EINVAL:
damaged data can lead to a place before the start of a file."""
_DATABASE = {"OperationalError", "InterfaceError", "DisconnectionError", "TimeoutError", "InternalError"}
"""Classes of the libraries below: the database is away, locked or full. Those of a wrong statement are none of them.

InternalError is psycopg's of a connection that was ended between two answers: it gets one more than it asked for.
"""
_DATABASE_LIBRARIES = ("sqlalchemy", "psycopg", "sqlite3")
_NATIVE = ("builtins", "onnxruntime", "torch")
"""Where classes come from that ONNX Runtime and torch raise."""
_NO_MEMORY = ("bad_alloc", "bad allocation", "allocate memory", "out of memory")
_QUEUE = {"ConnectionError", "TimeoutError", "BusyLoadingError", "OperationalError"}
"""Classes of `redis.exceptions` and `kombu.exceptions`."""
_READERS = {"data_element_generator", "read_dataset", "read_sequence", "read_partial"}
"""Functions of pydicom's filereader.py in which nothing but the file decides what is raised."""
_FULL = ("disk is full", "disk full", "no space left", "diskfull")
_SQLITE_FULL = {"SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"}
"""SQLite's names for it: the second where there is no room for the index of its write-ahead log."""
_SQLITE_NOT_WRITABLE = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")
READ_ONLY_TRANSACTION = "25006"
"""PostgreSQL's SQLSTATE of a write where none is taken."""
_SQLITE_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")


class _Activity(str):
    """A note on an exception that says what was being done; told from notes that others add."""

    __slots__ = ()


@contextmanager
def activity(words: str) -> Iterator[None]:
    """Say what is done inside, as 'making the Segmentation of Effusion': an unforeseen error tells it."""
    try:
        yield
    except Exception as error:  # noted and passed on, whatever it is
        error.add_note(_Activity(words))
        raise


def activity_of(error: BaseException) -> str:
    """What was being done when this was raised, the innermost first named; empty where nobody said."""
    return next((str(note) for note in getattr(error, "__notes__", ()) if isinstance(note, _Activity)), "")


def place_of(error: BaseException) -> str:
    """Where it happened: 'results/segmentation.py line 120', the innermost place that is WhyRay's own."""
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        path = Path(frame.filename)
        if path.is_relative_to(_HERE):
            return f"{path.relative_to(_HERE).as_posix()} line {frame.lineno}"
    return f"{Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else "an unknown place"


def typed_error(error: BaseException, subject: str = "", *, advice: str | None = None) -> WhyRayError:
    """The error that this amounts to; a WhyRayError is itself.

    Parameters
    ----------
    subject
        What was worked on, for the head of the message: 'job 12'.
    advice
        What to do about a defect, where that depends on who is told.
    """
    if isinstance(error, WhyRayError) and not is_want_of_memory(error):
        return error
    head = f"{subject}: " if subject else ""
    doing = f" while {words}" if (words := activity_of(error)) else ""
    if isinstance(error, MemoryError) or is_want_of_memory(error):
        return ResourceExhausted(f"{head}not enough memory{doing}")
    if isinstance(error, OSError) and error.errno in _SHORTAGES:
        return ResourceExhausted(f"{head}{errno.errorcode[error.errno]}{doing}")
    if (damaged := _damaged_element(error)) is not None:
        return DecodeError(
            f"{head}{damaged} ({type(error).__name__}){doing}",
            advice="The instance is damaged: correct the element where it was made.",
            in_service="Then send it again.",
        )
    if (trouble := trouble_of_catalog(error, head, doing)) is not None:
        return trouble
    if (outage := _outage_of_database(error)) is not None:
        return PeerUnreachable(
            f"{head}the catalog can't be reached or is locked ({type(outage).__name__}){doing}",
            advice="Check that the database runs, and the catalog's url.",
        )
    if _is_of(error, "redis", _QUEUE) or _is_of(error, "kombu", _QUEUE):
        return PeerUnreachable(
            f"{head}the queue can't be reached ({type(error).__name__}){doing}",
            advice="Check that Redis runs, and the queue's url.",
        )
    name = type(error).__name__
    if isinstance(error, OSError) and error.errno is not None:
        name += f" {errno.errorcode.get(error.errno, error.errno)}"
    return InternalError(f"{head}{name} in {place_of(error)}{doing}", advice=advice)


def trouble_of_catalog(error: BaseException, head: str = "", doing: str = "") -> WhyRayError | None:
    """What is wrong where the catalog lies: its file is damaged or can't be opened, or its disk is full.

    None of an error that has another cause or does not tell it, such as a server that is away.
    """
    if (name := _name_by_sqlite(error)).startswith(_SQLITE_DAMAGED):
        return CatalogDamaged(f"{head}the catalog's file is damaged ({name}){doing}")
    if (outage := _outage_of_database(error)) is None:
        return None
    if _is_full(outage):
        return ResourceExhausted(f"{head}the disk of the catalog is full{doing}")
    if getattr(getattr(outage, "orig", None) or outage, "sqlstate", None) == READ_ONLY_TRANSACTION:
        return PeerUnreachable(
            f"{head}the catalog's server takes no writes: it is a standby, or was set to read only{doing}",
            advice="Check which server the catalog's url leads to: `target_session_attrs=read-write` in it finds the "
            "primary among several hosts.",
        )
    if (name := _name_by_sqlite(outage)).startswith(_SQLITE_NOT_WRITABLE):
        return PeerUnreachable(
            f"{head}the catalog can't be reached: its file or folder can't be opened or written ({name}){doing}",
            advice="Check that the user whom WhyRay runs as owns the state folder and all in it, and that its disk "
            "is not mounted read-only.",
        )
    return None


def is_want_of_memory(error: BaseException) -> bool:
    """Whether a library of native code says by its text alone, here or further back, that memory ran out."""
    chain: BaseException | None = error
    while chain is not None:
        if type(chain).__module__.partition(".")[0] in _NATIVE and any(
            words in str(chain).lower() for words in _NO_MEMORY
        ):
            return True
        chain = chain.__cause__ or chain.__context__
    return False


def _damaged_element(error: BaseException) -> str | None:
    """What pydicom could not read of a data set, where that is why this was raised: the data's fault, and no defect."""
    damaged = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        if Path(code.co_filename).parent.name != "pydicom":
            continue
        if code.co_name == "convert_raw_data_element":
            raw = frame.f_locals.get("raw")
            if raw is not None:
                damaged = f"the value of {_name_of(raw.tag)} is none of the value representation {raw.VR}"
        elif damaged is None and code.co_name in _READERS:
            damaged = "a data set can't be read to its end"
    return damaged


def _name_of(tag: int) -> str:
    from pydicom.datadict import keyword_for_tag
    from pydicom.tag import Tag

    return f"{keyword_for_tag(tag)} {Tag(tag)}".lstrip()


def logged(log: logging.Logger, error: BaseException, what: str) -> WhyRayError:
    """Log what went wrong in `what`, and give it typed: an outage in one line, a defect with the way that led there.

    Not as a traceback: that ends with the exception's own text.
    """
    typed = typed_error(error)
    if isinstance(typed, InternalError) and not isinstance(error, WhyRayError):
        way = " < ".join(
            f"{frame.filename}:{frame.lineno}" for frame in reversed(traceback.extract_tb(error.__traceback__))
        )
        log.error("%s: %s at %s", what, type(error).__name__, way)
    else:
        log.error("%s: %s: %s", what, typed.code, typed.message)
    return typed


def raise_retriable(error: Exception) -> None:
    """Raise what says that memory ran out, or anything else that may be had at the next try; nothing of other errors.

    For who takes something else where an error says that the first choice can't be had: that must not hang on what
    befell one machine once.
    """
    typed = typed_error(error)
    if typed.retriable:
        raise typed from error


def raise_unreadable(error: Exception, what: str) -> None:
    """Raise what says that the machine refused to read a file, which may pass; nothing of other errors.

    For who reads what may be damaged: that a share is away is not the file's fault. `what` names the file.
    """
    if not isinstance(error, OSError):
        return
    if error.errno in _SHORTAGES:
        raise typed_error(error, what) from error
    if error.errno in _AWAY:
        raise StorageUnavailable(f"{what} can't be read ({error.strerror})") from error


def is_outage_of_database(error: BaseException) -> bool:
    """Whether the database is away, locked or full: not the fault of a statement or its values."""
    return _outage_of_database(error) is not None


def is_conflict_of_transactions(error: BaseException) -> bool:
    """Whether the database ended a transaction for another that was in its way (SQLSTATE class 40: a deadlock, or what
    can't be serialized): the next attempt may do.
    """
    return str(getattr(getattr(error, "orig", None), "sqlstate", "")).startswith("40")


def _is_of(error: BaseException, package: str, names: set[str]) -> bool:
    return any(kind.__module__.partition(".")[0] == package and kind.__name__ in names for kind in type(error).__mro__)


def _outage_of_database(error: BaseException) -> BaseException | None:
    """The outage that this is, or that it follows from: a session whose connection broke raises other classes later."""
    if not any(_is_of(error, package, {*_DATABASE, "Error", "SQLAlchemyError"}) for package in _DATABASE_LIBRARIES):
        return None
    chain: BaseException | None = error
    while chain is not None:
        if getattr(chain, "connection_invalidated", False):
            return chain
        if any(_is_of(chain, package, _DATABASE) for package in _DATABASE_LIBRARIES):
            return chain
        chain = chain.__cause__ or chain.__context__
    return None


def _name_by_sqlite(error: BaseException) -> str:
    """SQLite's name for what it refused; empty where another has raised this."""
    return str(getattr(getattr(error, "orig", None) or error, "sqlite_errorname", ""))


def _is_full(error: BaseException) -> bool:
    if _name_by_sqlite(error) in _SQLITE_FULL:
        return True
    original = getattr(error, "orig", None)
    words = f"{type(original).__name__} {original}".lower()
    return any(phrase in words for phrase in _FULL)
