"""Secrets: written as `{env: NAME}` or `{file: PATH}`, never in the configuration itself, never printed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import PlainSerializer, PlainValidator, SecretStr, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

_HOW = "write {env: NAME_OF_VARIABLE} or {file: PATH}"


@dataclass(frozen=True)
class Secret:
    """A secret and where it came from; only `reveal()` gives the text away.

    Attributes
    ----------
    origin
        {'env': name} or {'file': path}; empty for a value that holds nothing secret (a URL without a password).
    value
        The text itself, hidden from `repr` and from logs.
    """

    origin: Mapping[str, str] = field(hash=False)
    value: SecretStr = field(repr=False)

    def reveal(self) -> str:
        """The secret text."""
        return self.value.get_secret_value()

    @property
    def file(self) -> Path | None:
        """The file that holds it, if one does."""
        return Path(self.origin["file"]) if "file" in self.origin else None

    def __str__(self) -> str:
        return f"secret from {next(iter(self.origin.items()))}" if self.origin else self.reveal()


def _error(message: str, **context: object) -> PydanticCustomError:
    # 'secret' as the error's type tells the reporter not to print what was found in the file.
    return PydanticCustomError("secret", message, context)


def _read(value: object, info: ValidationInfo) -> Secret:
    if isinstance(value, Secret):
        return value
    if not isinstance(value, Mapping):
        raise _error("a secret is not written here in clear; " + _HOW)
    if len(value) != 1 or next(iter(value)) not in ("env", "file"):
        raise _error("a secret has exactly one key, env or file; " + _HOW)
    (kind, name), context = next(iter(value.items())), info.context or {}
    if not isinstance(name, str) or not name:
        raise _error("{kind} needs a name", kind=kind)
    if kind == "env":
        return _from_environment(name, context)
    return _from_file(Path(context.get("folder") or Path.cwd()) / Path(name).expanduser(), context)


def _from_environment(name: str, context: Mapping[str, object]) -> Secret:
    environ = context.get("environ", os.environ)
    text = environ.get(name, "") if isinstance(environ, Mapping) else ""
    if not text and context.get("read_secrets", True):
        raise _error("the environment variable {name} is not set or empty", name=name)
    return Secret({"env": name}, SecretStr(str(text)))


def _from_file(path: Path, context: Mapping[str, object]) -> Secret:
    if not context.get("read_secrets", True):
        return Secret({"file": str(path)}, SecretStr(""))
    try:
        text = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise _error("the secret's file {path} can't be read: {reason}", path=str(path), reason=reason) from None
    if not text:
        raise _error("the secret's file {path} is empty", path=str(path))
    return Secret({"file": str(path)}, SecretStr(text))


def _read_url(value: object, info: ValidationInfo) -> Secret:
    if not isinstance(value, str):
        return _read(value, info)
    try:
        parts = urlsplit(value)
        password = parts.password
    except ValueError:
        raise _error("not a URL") from None
    if not parts.scheme:
        raise _error("a URL begins with its scheme, e.g. redis://host:6379/0 or postgresql+psycopg://host/name")
    if password is not None:
        raise _error("a URL with a password is a secret; " + _HOW)
    return Secret({}, SecretStr(value))


def _write(secret: Secret) -> object:
    return dict(secret.origin) if secret.origin else secret.reveal()


_REFERENCE: dict[str, object] = {
    "oneOf": [
        {
            "type": "object",
            "properties": {kind: {"type": "string", "minLength": 1}},
            "required": [kind],
            "additionalProperties": False,
        }
        for kind in ("env", "file")
    ],
    "title": "secret",
}

SecretValue = Annotated[Secret, PlainValidator(_read), PlainSerializer(_write), WithJsonSchema(_REFERENCE)]
SecretUrl = Annotated[
    Secret,
    PlainValidator(_read_url),
    PlainSerializer(_write),
    WithJsonSchema({"oneOf": [{"type": "string", "pattern": "^[a-z][a-z0-9+.-]*:"}, _REFERENCE], "title": "URL"}),
]
