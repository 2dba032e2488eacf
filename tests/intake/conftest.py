"""Fixtures of intake's tests: a listener with a catalog and a folder of its own, and a sender of any bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from sqlalchemy import select

from intake.scu import Sender
from whyray.catalog import Catalog, Event, Instance, sqlite_url
from whyray.config import Listener, ListenerLimits
from whyray.intake import StorageScp, start_listener
from whyray.storage import FolderStorage


def listener_settings(*, limits: dict[str, Any] | None = None, **settings: Any) -> Listener:
    """A configuration that lets everybody on this machine in, on any free port, unless told otherwise."""
    open_to_all = {"address": "127.0.0.1", "accept_unknown_peers": "peers" not in settings}
    limited = {"min_free_disk": 0, "acse_timeout": timedelta(seconds=5), **(limits or {})}
    listener = Listener(**{**open_to_all, "limits": ListenerLimits.model_construct(**_whole(limited)), **settings})
    return listener if "port" in settings else listener.model_copy(update={"port": 0})


def _whole(limits: dict[str, Any]) -> dict[str, Any]:
    return {**dict(ListenerLimits()), **limits}


@dataclass
class Running:
    """A listener, and what it wrote."""

    scp: StorageScp
    catalog: Catalog
    storage: FolderStorage

    @property
    def port(self) -> int:
        return self.scp.port

    def instances(self) -> list[Instance]:
        with self.catalog.read() as session:
            return list(session.scalars(select(Instance).order_by(Instance.id)))

    def events(self, kind: str) -> list[Event]:
        with self.catalog.read() as session:
            return list(session.scalars(select(Event).where(Event.kind == kind).order_by(Event.id)))

    def files(self) -> list[Path]:
        return [path for path in self.storage.root.rglob("*") if path.is_file()]

    def sender(self, **options: Any) -> Sender:
        return Sender(self.port, **options)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog(sqlite_url(tmp_path / "catalog.sqlite"))
    yield opened
    opened.close()


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path / "instances")


@pytest.fixture
def listen(catalog: Catalog, storage: FolderStorage) -> Iterator[Callable[..., Running]]:
    """Starts a listener; `listen(limits={...}, peers={...}, is_own=...)`."""
    with ExitStack() as stack:

        def start(
            *,
            is_own: Callable[[Dataset], bool] = lambda _: False,
            report_to: Callable[[str], tuple[str, int] | None] = lambda _: None,
            handlers: Sequence[tuple[Any, ...]] = (),
            on_release: Callable[[], None] = lambda: None,
            **settings: Any,
        ) -> Running:
            scp = start_listener(
                listener_settings(**settings),
                catalog,
                storage,
                is_own=is_own,
                report_to=report_to,
                handlers=handlers,
                on_release=on_release,
            )
            stack.callback(scp.stop, grace=2.0)
            return Running(scp, catalog, storage)

        yield start
