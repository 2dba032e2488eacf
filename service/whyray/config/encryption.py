"""Encryption at rest: from where its keys come."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from whyray.base.errors import ConfigError
from whyray.base.sealing import SealingKeys, parse_key
from whyray.config.base import Section
from whyray.config.values import FolderPath

_WITHIN = 60.0


class StorageKey(Section):
    """A key of 64 hexadecimal digits (`openssl rand -hex 32`), from exactly one of these."""

    file: FolderPath | None = None
    """A file that holds it."""
    env: Annotated[str, Field(min_length=1)] | None = None
    """An environment variable that holds it."""
    command: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """A program with its arguments that prints it, run without a shell as each role starts."""

    @model_validator(mode="after")
    def _one_source(self) -> StorageKey:
        if sum(source is not None for source in (self.file, self.env, self.command)) != 1:
            raise PydanticCustomError("secret", "a key has exactly one of file, env and command")
        return self

    def read(self, environ: Mapping[str, str]) -> bytes:
        """The key's 32 bytes. Raises ConfigError."""
        advice = "Name a key that can be read; without it nothing that is stored can be."
        if self.env is not None:
            if not environ.get(self.env):
                raise ConfigError(f"the environment variable {self.env} holds no key", advice=advice)
            return parse_key(environ[self.env], f"the environment variable {self.env}")
        if self.file is not None:
            try:
                return parse_key(self.file.read_text("utf-8"), str(self.file))
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "not text"
                raise ConfigError(f"the key's file {self.file} can't be read: {reason}", advice=advice) from None
        assert self.command is not None
        try:
            done = subprocess.run(self.command, capture_output=True, timeout=_WITHIN, check=False)  # nosec B603  # what the site's own file names
        except (OSError, subprocess.TimeoutExpired) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise ConfigError(f"{self.command[0]} gave no key: {reason}", advice=advice) from None
        if done.returncode:
            raise ConfigError(f"{self.command[0]} gave no key: it ended with code {done.returncode}", advice=advice)
        return parse_key(done.stdout.decode("ascii", "replace"), self.command[0])


class Encryption(Section):
    """Encryption at rest of stored objects, and of patient identifiers in the audit trail (docs/security.md)."""

    key: StorageKey
    """What seals."""
    former: tuple[StorageKey, ...] = ()
    """What sealed before: read with, never written with. `whyray storage encrypt` seals the objects anew."""

    def keys(self, environ: Mapping[str, str]) -> SealingKeys:
        """The keys, read now. Raises ConfigError."""
        return SealingKeys(self.key.read(environ), tuple(former.read(environ) for former in self.former))
