"""Values that a person writes in the configuration: durations, sizes, AE titles, folders, UID roots."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

_DURATION_UNITS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.ASCII)
_SIZE_UNITS = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([A-Za-z]+)", re.ASCII)
_SHARE = re.compile(r"(\d+(?:\.\d+)?) ?(%?)", re.ASCII)
_UID_ROOT = re.compile(r"[0-2](\.(0|[1-9]\d*))+", re.ASCII)
_LONGEST_DURATION = timedelta(weeks=5200)

LONGEST_UID_ROOT = 32
"""64 characters of a UID (PS3.5 section 9.1) less a dot and 31 digits (103 bits) that make a result's UID its own."""


def parse_duration(text: str) -> timedelta:
    """'20s', '90m', '24h', '7d', '2w', or several together, largest first: '1h30m'.

    Raises
    ------
    ValueError
        If the text is not a duration, or longer than 5200 weeks.
    """
    compact = text.replace(" ", "")
    match = _DURATION.fullmatch(compact)
    if match is None or not compact:
        raise ValueError("a duration is a whole number with a unit, e.g. 20s, 90m, 24h, 7d or 1h30m")
    seconds = sum(
        int(number) * unit for number, unit in zip(match.groups(), _DURATION_UNITS.values(), strict=True) if number
    )
    if seconds > _LONGEST_DURATION.total_seconds():
        raise ValueError("a duration may be 5200w at most")
    return timedelta(seconds=seconds)


def format_duration(duration: timedelta) -> str:
    """The shortest text that `parse_duration` reads as this duration (whole seconds, rounded down)."""
    rest = int(duration.total_seconds())
    text = ""
    for name, unit in _DURATION_UNITS.items():
        number, rest = divmod(rest, unit)
        text += f"{number}{name}" if number else ""
    return text or "0s"


def parse_size(text: str) -> int:
    """Bytes of '2GiB', '500MB', '64 KiB', '1.5GB'; the result is whole bytes, rounded down.

    Raises
    ------
    ValueError
        If the text is not a size.
    """
    match = _SIZE.fullmatch(text.strip())
    unit = _SIZE_UNITS.get(match.group(2)) if match else None
    if match is None or unit is None:
        raise ValueError(f"a size is a number with a unit ({', '.join(_SIZE_UNITS)}), e.g. 2GiB")
    whole, _, fraction = match.group(1).partition(".")
    return int(whole + fraction) * unit // int(10 ** len(fraction))


def parse_share(text: str) -> float:
    """A share between 0 and 1, neither end: '2%', '0.5 %' or '0.02'.

    Raises
    ------
    ValueError
        If the text is none; a number of 1 or more without its % is refused, since nobody knows what it means.
    """
    match = _SHARE.fullmatch(text.strip())
    value = float(match.group(1)) / (100 if match.group(2) else 1) if match else math.nan
    if not 0 < value < 1:
        raise ValueError("a share lies between 0 and 100 %, e.g. 2% or 0.02")
    return value


def format_share(share: float) -> str:
    """The share in percent, e.g. '2%'; `parse_share` reads it back to nine digits."""
    return f"{100 * share:.9g}%"


def format_size(size: int) -> str:
    """The size with the largest binary unit that divides it, e.g. '2GiB'; `parse_size` reads it back exactly."""
    for name in ("TiB", "GiB", "MiB", "KiB"):
        if size and size % _SIZE_UNITS[name] == 0:
            return f"{size // _SIZE_UNITS[name]}{name}"
    return f"{size}B"


def _read_duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str):
        return _or_custom_error("duration", parse_duration, value)
    raise PydanticCustomError("duration", "a duration needs a unit, e.g. 20s, 90m, 24h or 7d")


def _read_size(value: object, info: ValidationInfo) -> object:
    # A plain number is bytes in Python code; in a file (which gives a context) it needs its unit.
    if isinstance(value, int) and not isinstance(value, bool) and info.context is None:
        return value
    if isinstance(value, str):
        return _or_custom_error("size", parse_size, value)
    raise PydanticCustomError("size", "a size needs a unit, e.g. 500MB or 2GiB")


def _read_share(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = f"{value:f}"
    if isinstance(value, str):
        return _or_custom_error("share", parse_share, value)
    raise PydanticCustomError("share", "a share is written 2% or 0.02")


def _or_custom_error(kind: str, parse: Callable[[str], object], text: str) -> object:
    try:
        return parse(text)
    except ValueError as error:
        raise PydanticCustomError("value", "{reason}", {"reason": str(error), "kind": kind}) from None


def check_ae_title(title: str) -> str:
    """The title without leading and trailing spaces, which have no meaning (PS3.5 table 6.2-1, VR AE).

    Raises
    ------
    PydanticCustomError
        If it is empty, longer than 16 characters, or holds a backslash, a control or a non-ASCII character.
    """
    stripped = title.strip(" ")
    if not stripped or len(stripped) > 16:
        raise PydanticCustomError(
            "ae_title", "an AE title has 1 to 16 characters, this one has {count}", {"count": len(stripped)}
        )
    if any(not 32 <= ord(letter) < 127 or letter == "\\" for letter in stripped):
        raise PydanticCustomError("ae_title", "an AE title holds printable ASCII without backslash")
    return stripped


def _check_uid_root(root: str) -> str:
    root = root.rstrip(".")
    if len(root) > LONGEST_UID_ROOT or not _UID_ROOT.fullmatch(root):
        raise PydanticCustomError(
            "uid_root",
            "a UID root is numbers without leading zeros, joined by dots, {longest} characters at most",
            {"longest": LONGEST_UID_ROOT},
        )
    return root


def _resolve(path: Path, info: ValidationInfo) -> Path:
    folder = Path((info.context or {}).get("folder") or Path.cwd())
    return (folder / path.expanduser()).absolute()


def _not_negative(duration: timedelta) -> timedelta:
    if duration < timedelta(0):
        raise PydanticCustomError("duration", "a duration can't be negative")
    return duration


_DURATION_PATTERN = r"^\s*(\d+\s*w)?\s*(\d+\s*d)?\s*(\d+\s*h)?\s*(\d+\s*m)?\s*(\d+\s*s)?\s*$"

Duration = Annotated[
    timedelta,
    BeforeValidator(_read_duration),
    AfterValidator(_not_negative),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": _DURATION_PATTERN, "title": "duration"}),
]
Size = Annotated[
    int,
    BeforeValidator(_read_size),
    Field(ge=0),
    PlainSerializer(format_size, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)? ?([kKMGT]i?)?B$", "title": "size"}),
]
Share = Annotated[
    float,
    BeforeValidator(_read_share),
    PlainSerializer(format_share, return_type=str),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\d+(\.\d+)? ?%?$"},
                {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
            ],
            "title": "share",
        }
    ),
]
AETitle = Annotated[
    str,
    AfterValidator(check_ae_title),
    WithJsonSchema({"type": "string", "pattern": r"^[\x20-\x5b\x5d-\x7e]{1,16}$", "title": "AE title"}),
]
Port = Annotated[int, Field(ge=1, le=65535, strict=True, title="port")]
Count = Annotated[int, Field(ge=1, strict=True, title="count")]
FolderPath = Annotated[
    Path, AfterValidator(_resolve), WithJsonSchema({"type": "string", "format": "path", "title": "path"})
]
UidRoot = Annotated[
    str,
    AfterValidator(_check_uid_root),
    WithJsonSchema({"type": "string", "pattern": r"^[0-2](\.(0|[1-9]\d*))+\.?$", "title": "UID root"}),
]
