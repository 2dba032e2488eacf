"""The configuration in force, and its replacement while running."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel

from whyray.base.errors import ConfigError
from whyray.base.failures import logged, typed_error
from whyray.base.shown import shown_path
from whyray.config.destinations import DicomWebDestination
from whyray.config.load import read_config
from whyray.config.model import Config
from whyray.config.problems import Place, Problem, config_error, dotted, unreadable
from whyray.config.secrets import Secret

NEEDS_RESTART: tuple[Place, ...] = (
    ("listener", "tls", "only"),
    ("listener", "processes"),
    ("listener", "dicomweb", "address"),
    ("listener", "dicomweb", "port"),
    ("listener", "dicomweb", "tls"),
    ("state",),
    ("storage",),
    ("catalog",),
    ("queue",),
    ("admin", "address"),
    ("admin", "port"),
    ("admin", "tls"),
    ("admin", "proxies"),
    ("workers", "count"),
    ("workers", "device"),
    ("workers", "threads"),
    ("workers", "memory"),
    ("workers", "read_ahead"),
    ("tracing",),
)
"""Settings that a running process keeps until it is started again; all others take effect with the reload."""

_log = logging.getLogger("whyray.config")
_MOST_LOOKS = 16
"""Looks at the file between two tries to obey it."""
Check = Callable[[Config], Sequence[Problem]]


class Keeper(Protocol):
    """Keeps what is in force for the next start, and gives it back while the file is wrong."""

    def keep(self, content: bytes, config: Config, /) -> None:
        """Keep it."""

    def last(self, wrong: bytes | None, /) -> bytes | None:
        """What was kept, None if there is nothing; `wrong` is what the file says, None if it can't be read."""


@dataclass(frozen=True)
class Reload:
    """What a look at the file brought.

    Attributes
    ----------
    changed
        Whether another configuration is in force than before.
    errors
        What is wrong with the new file; the old one stays in force. Told once for each state of the file, and once more
        where something else keeps it from being obeyed.
    restart
        Dotted names of changed settings that take effect at the next start only.
    """

    changed: bool
    errors: tuple[Problem, ...] = ()
    restart: tuple[str, ...] = ()


@dataclass
class _PutOff:
    """A configuration that reads well and could not be obeyed: a port may be free, a certificate there a little later.

    It is tried again after `wait` looks at the file, of which `left` are left: soon at first, and then more seldom.
    """

    config: Config
    wait: int = 1
    left: int = 1

    def is_due(self) -> bool:
        """Whether it is to be tried at this look."""
        self.left -= 1
        return self.left <= 0

    def failed_again(self) -> None:
        """It could not be obeyed this time either."""
        self.left = self.wait = min(2 * self.wait, _MOST_LOOKS)


class ConfigSource:
    """A configuration file and what it says now.

    `.current` may be read from any thread at any time: it is one whole configuration, never a mixture of two.

    Parameters
    ----------
    path
        The file; read at once. Raises ConfigError if it can't be obeyed and nothing is kept.
    check
        Further problems of a configuration that reads well, e.g. `check_config` with the registries.
    keeper
        Keeps what is in force, and gives it back where the file is wrong from the start; nothing is kept without it.
    environ
        Where `{env: NAME}` is looked up; the process's environment by default.
    settle, pause
        A changed file is read again after so many seconds, until two readings agree, so that a file that is just being
        written is not taken half-written; at most 20 times.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        check: Check = lambda _: (),
        keeper: Keeper | None = None,
        environ: Mapping[str, str] | None = None,
        settle: float = 0.05,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.path = Path(path).absolute()
        self._check, self._environ, self._settle, self._pause = check, environ, settle, pause
        self._keeper = keeper
        self._lock = threading.Lock()
        self._refusal: tuple[Problem, ...] = ()
        self._put_off: _PutOff | None = None
        self._current, self._seen = self._first()

    def _first(self) -> tuple[Config, str]:
        """The configuration to start from, and what of the file is known."""
        content: bytes | None = None
        try:
            content = self._read()
            config, problems = self._parse(content)
            refusal = None if config is not None else config_error(problems, shown_path(self.path))
        except ConfigError as error:
            config, problems, refusal = None, (Problem((), error.message),), error
        if config is not None and content is not None:
            self._keep(content, config)
            return config, self._digest(content, config)
        assert refusal is not None
        last = None if self._keeper is None else self._keeper.last(content)
        kept, _ = (None, ()) if last is None else self._parse(last)
        if kept is None:
            raise refusal
        self._refusal = problems
        return kept, self._digest(content, kept) if content is not None else _unreadable(refusal)

    def _keep(self, content: bytes, config: Config) -> None:
        if self._keeper is not None:
            self._keeper.keep(content, config)

    @property
    def current(self) -> Config:
        """The configuration in force."""
        return self._current

    @property
    def refusal(self) -> tuple[Problem, ...]:
        """What is wrong with the file as it is now, while an older configuration is in force; empty if it is obeyed."""
        return self._refusal

    def reload_if_changed(self, obey: Callable[[Config], None] = lambda _: None) -> Reload:
        """Look at the file; put it in force if it says something new and can be obeyed.

        Whether it changed is decided by content (its own and that of the files of its secrets), not by time stamps.

        Parameters
        ----------
        obey
            Does what the new configuration asks for before it is in force; what it raises refuses the file. The same
            file is tried again at later looks, since the cause may lie outside it.
        """
        with self._lock:
            try:
                content = self._read()
                if self._digest(content, self._current) == self._seen:
                    return self._tried_again(content, obey)
                content = self._settled(content)
            except ConfigError as error:
                return self._refused(_unreadable(error), (Problem((), error.message),))
            digest = self._digest(content, self._current)
            if digest == self._seen:
                return Reload(False)
            config, problems = self._parse(content)
            if config is None:
                return self._refused(digest, problems)
            hindrance = self._hindrance(config, obey)
            if hindrance is None:
                return self._in_force(content, config)
            reload = self._refused(digest, (hindrance,))
            self._put_off = _PutOff(config)
            return reload

    def _tried_again(self, content: bytes, obey: Callable[[Config], None]) -> Reload:
        """What the same file brings, now that the world around it may have changed."""
        put_off = self._put_off
        if put_off is None or not put_off.is_due():
            return Reload(False)
        hindrance = self._hindrance(put_off.config, obey)
        if hindrance is None:
            return self._in_force(content, put_off.config)
        put_off.failed_again()
        if (hindrance,) == self._refusal:
            return Reload(False)
        self._refusal = (hindrance,)
        return Reload(False, self._refusal)

    def _hindrance(self, config: Config, obey: Callable[[Config], None]) -> Problem | None:
        """Why it can't be obeyed; None where it is."""
        try:
            obey(config)
        except Exception as error:  # whatever it is, who looks at the file must go on looking
            typed = typed_error(error)
            hindrance = Problem((), typed.message, suggestion=typed.advice)
            if not isinstance(error, ConfigError) and (hindrance,) != self._refusal:
                logged(_log, error, shown_path(self.path))
            return hindrance
        return None

    def _in_force(self, content: bytes, config: Config) -> Reload:
        restart = tuple(dotted(place) for place in NEEDS_RESTART if _at(self._current, place) != _at(config, place))
        self._current = config
        self._refusal, self._put_off = (), None
        self._seen = self._digest(content, config)
        self._keep(content, config)
        return Reload(True, restart=restart)

    def _refused(self, seen: str, problems: tuple[Problem, ...]) -> Reload:
        if seen == self._seen:
            return Reload(False)
        self._seen = seen
        self._refusal, self._put_off = problems, None
        return Reload(False, problems)

    def _read(self) -> bytes:
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise unreadable(self.path, error) from None

    def _settled(self, content: bytes) -> bytes:
        for _ in range(20):
            self._pause(self._settle)
            again = self._read()
            if again == content:
                break
            content = again
        return content

    def _parse(self, content: bytes) -> tuple[Config | None, tuple[Problem, ...]]:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            return None, (Problem((), f"not UTF-8 at byte {error.start}", None, "save the file as UTF-8"),)
        config, problems = read_config(text, folder=self.path.parent, environ=self._environ)
        if config is not None:
            problems = tuple(self._check(config))
        return (None if problems else config), problems

    def _digest(self, content: bytes, config: Config) -> str:
        digest = hashlib.sha256(content)
        for secret in secrets_of(config):
            if secret.file is not None:
                digest.update(_bytes_or_nothing(secret.file))
        return digest.hexdigest()


def _unreadable(error: ConfigError) -> str:
    return f"unreadable: {error.message}"


def secrets_of(config: Config) -> tuple[Secret, ...]:
    """All secrets of a configuration."""
    secrets: list[Secret | None] = [config.catalog.url, config.queue.url, config.admin.token]
    secrets += [login.password for login in config.admin.logins]
    secrets += [config.admin.oidc.client_secret] if config.admin.oidc is not None else []
    if config.listener.dicomweb is not None:
        secrets += config.listener.dicomweb.tokens.values()
    for worklist in config.worklists.values():
        secrets += [worklist.token, worklist.login.password if worklist.login else None]
    for destination in config.destinations.values():
        if isinstance(destination, DicomWebDestination):
            secrets += [destination.token, destination.login.password if destination.login else None]
    return tuple(secret for secret in secrets if secret is not None)


def _bytes_or_nothing(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _at(value: object, place: Place) -> object:
    for step in place:
        value = getattr(value, str(step)) if isinstance(value, BaseModel) else None
    return value
