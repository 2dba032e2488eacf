"""What is a UID, at every door: PS3.5 section 9.1."""

from __future__ import annotations

import re

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST = 64


def is_uid(text: str) -> bool:
    """Whether this is digits between single dots, at most 64 characters of them.

    A zero that leads a component is borne: devices write them. '.' and '..' are none: a UID may become part of a path.
    """
    return len(text) <= _LONGEST and _UID.fullmatch(text) is not None
