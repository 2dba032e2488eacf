"""What every role works with, opened from one configuration file."""

from __future__ import annotations

import logging
import os
import platform
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import Dataset
from sqlalchemy.exc import SQLAlchemyError

from whyray.app.checked_source import checked_source
from whyray.app.embedded_redis import embedded_url
from whyray.app.ended_role import name_of, process_name
from whyray.base.allocator import settle
from whyray.base.errors import StorageUnavailable, WhyRayError
from whyray.base.outage_log import OutageLog
from whyray.base.sealing import SealingKeys
from whyray.base.shown import shown_path
from whyray.base.sources import waits_by_the_wall_clock
from whyray.catalog import (
    AuditEvent,
    AuditKind,
    AuditParticipant,
    Catalog,
    audit,
    events,
    headers,
    installation,
    processes,
)
from whyray.config import Config, ConfigSource, Problem, config_error
from whyray.routing import read_header, read_header_and_bytes
from whyray.storage import Storage, is_made, open_folder

_log = logging.getLogger("whyray.config")
_RELOAD_EVERY = 2.0


@dataclass(frozen=True)
class Context:
    """One role's catalog, storage and configuration. `config()` is what is in force now."""

    path: Path
    source: ConfigSource
    catalog: Catalog
    storage: Storage

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        check_apart: bool = False,
        one_machine: bool = False,
        agree: Callable[[Config], None] = lambda _: None,
    ) -> Context:
        """Read the configuration and open catalog and storage; the schema is brought up to date.

        Parameters
        ----------
        check_apart
            Whether packages and methods are looked up, and the schema is brought up to date, in processes of their own,
            so that this one does not hold what that takes.
        one_machine
            Whether all roles are to run on this machine.
        agree
            Raises what keeps this process from working by a configuration, before anything of it is opened.

        Raises
        ------
        ConfigError
            If the file can't be obeyed, and no configuration that was in force before is kept.
        StorageUnavailable
            If the folder of images and results is full, can't be read or written, or is not the one that was here.
        """
        source = checked_source(path, apart=check_apart, one_machine=one_machine)
        config = source.current
        agree(config)
        if source.refusal:
            _log.error("%s", refused_words(source.refusal, path))
        config.state.mkdir(parents=True, exist_ok=True)
        keys = sealing_keys(config)
        if is_made(config.storage_folder):
            storage = open_folder(config.storage_folder, keys)
            return cls(path, source, Catalog(config.catalog_url, keys=keys, apart=check_apart), storage)
        catalog = Catalog(config.catalog_url, keys=keys, apart=check_apart)
        try:
            _refuse_another_folder(catalog, config.storage_folder)
            return cls(path, source, catalog, open_folder(config.storage_folder, keys))
        except BaseException:
            catalog.close()
            raise

    def config(self) -> Config:
        """The configuration in force."""
        return self.source.current

    @cached_property
    def redis_url(self) -> str:
        """The broker: the configured one, or the embedded one of the state folder."""
        config = self.config()
        return config.redis_url or embedded_url(config.state)

    def read_header(self, key: str) -> Dataset:
        """The attributes of a stored instance, without its pixel data: as kept in the catalog, else from its file.

        What came before headers were kept is kept now, so that its file is read once.

        Raises
        ------
        DecodeError
            If it can't be parsed.
        NotFound
            If storage has no such bytes.
        """
        called = f"the stored instance {key}"
        with self.catalog.read() as session:
            kept = headers.kept(session, key)
        if kept is not None:
            return read_header(BytesIO(kept), called=called)
        with self.storage.open(key) as file:
            header, content = read_header_and_bytes(file, headers.LARGEST, called=called)
        if content is not None:
            with self.catalog.begin() as session:
                headers.keep(session, key, content)
        return header

    def close(self) -> None:
        """Close the catalog."""
        self.catalog.close()


def _refuse_another_folder(catalog: Catalog, folder: Path) -> None:
    """Refuse to begin storage anew where the catalog knows what lies in one: its disk is not mounted, most likely.

    What came meanwhile would be acknowledged, and out of sight as soon as the disk is there.
    """
    with catalog.read() as session:
        held = installation.has_stored(session)
    if held:
        raise StorageUnavailable(
            f"the storage folder {folder} holds nothing, and the catalog names what lay in it",
            advice="Mount the disk or share that holds it, or correct storage.folder. If all that lay there is lost, "
            f"make the folder {folder / 'incoming'}: WhyRay goes on, and what it misses fails.",
        )


def _runs(pid: int) -> bool:
    return Path("/proc", str(pid)).exists()


def sealing_keys(config: Config) -> SealingKeys | None:
    """The keys of encryption at rest, where it is configured. Raises ConfigError."""
    encryption = config.storage.encryption
    return None if encryption is None else encryption.keys(os.environ)


def refused_words(problems: Sequence[Problem], path: Path) -> str:
    """What is said of a file that can't be obeyed while an older configuration is in force."""
    return f"the old configuration stays in force: {config_error(problems, shown_path(path.name)).message}"


class ProcessHeartbeat:
    """Tells the catalog that a role is alive, and keeps its configuration fresh, in a thread of its own.

    `obey` does what a changed configuration asks for, or refuses it with a ConfigError. `detail` is asked each time
    what is shown about this role, and `hindrance` what keeps it from its work, e.g. a broker that does not answer.
    """

    def __init__(
        self,
        context: Context,
        role: str,
        *,
        obey: Callable[[Config], None] = lambda _: None,
        detail: Callable[[], dict[str, Any]] = dict,
        hindrance: Callable[[], WhyRayError | None] = lambda: None,
    ) -> None:
        self.name = process_name(role, os.getpid())
        self._context, self._role, self._obey, self._hindrance = context, role, obey, hindrance
        self._asked = detail
        self._detail: dict[str, Any] = {"pid": os.getpid()}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> ProcessHeartbeat:
        if waits_by_the_wall_clock():
            _log.warning("this Python waits by the clock: set back by an hour, WhyRay stands still for an hour")
        refusal = self._context.source.refusal
        if refusal:
            words = refused_words(refusal, self._context.path)
            self._detail["config_refused"] = words
            self._event("error", "config.refused", words)
        with self._context.catalog.begin() as session:
            processes.gone_with_their_processes(session, self._role, platform.node(), _runs)
        self._seen()
        self._audit("application.start")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._audit("application.stop")
        try:
            with self._context.catalog.begin() as session:
                processes.gone(session, self.name)
        except SQLAlchemyError:
            _log.warning("%s ended while the catalog was out of reach", self.name)

    def note(self, **detail: Any) -> None:
        """Add to what is shown about this role."""
        self._detail.update(detail)
        self._seen()

    def _run(self) -> None:
        settle()
        reading = OutageLog(_log, f"reading {shown_path(self._context.path)} anew")
        seen = OutageLog(_log, f"{self.name}: saying that it is alive")
        while not self._end.wait(_RELOAD_EVERY):
            try:
                self._reload()
                reading.well()
            except Exception as error:  # whatever it is: a role that goes on must not be taken for dead
                reading.failed(error)
            try:
                self._seen()
                seen.well()
            except Exception as error:  # no memory, as little as no catalog, must end it
                seen.failed(error)

    def _seen(self) -> None:
        catalog = self._context.catalog
        self._detail.update(self._asked())
        hindrance = self._hindrance()
        self._detail.pop("hindrance", None)
        if hindrance is not None:
            self._detail["hindrance"] = processes.as_detail(hindrance)
        with catalog.begin() as session:
            processes.seen(session, self.name, self._role, catalog.clock(), dict(self._detail))
            processes.gone(session, name_of(self._role))

    def _reload(self) -> None:
        outcome = self._context.source.reload_if_changed(self._obey)
        if outcome.errors:
            words = refused_words(outcome.errors, self._context.path)
            self._detail["config_refused"] = words
            self._event("error", "config.refused", words)
        elif outcome.changed:
            self._detail.pop("config_refused", None)
            later = f"; at the next start only: {', '.join(outcome.restart)}" if outcome.restart else ""
            self._event("info", "config.reloaded", f"{self._context.path.name} was read anew{later}")

    def _audit(self, kind: AuditKind) -> None:
        catalog = self._context.catalog
        process = AuditParticipant(
            name=f"whyray {self._role}", role="application", process=str(os.getpid()), address=platform.node() or None
        )
        # 'serve', systemd or whatever else started it acts for this user of the machine
        starter = AuditParticipant(name=f"uid {os.getuid()}", requestor=True, role="launcher")
        try:
            with catalog.begin() as session:
                event = AuditEvent(at=catalog.clock(), kind=kind, participants=(process, starter))
                audit.record(session, event)
        except SQLAlchemyError as error:
            _log.error("%s of %s could not be audited: %s", kind, self.name, type(error).__name__)

    def _event(self, severity: events.Severity, kind: events.EventKind, message: str) -> None:
        catalog = self._context.catalog
        try:
            with catalog.begin() as session:
                events.record(session, catalog.clock(), severity, kind, message, actor=self._role)
        except SQLAlchemyError as error:
            _log.error("%s: %s (the catalog can't be reached: %s)", kind, message, type(error).__name__)
