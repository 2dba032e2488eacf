"""The kinds of DICOM objects that results come in, and what people call them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from whyray.base.errors import ConfigError

ResultKind = Literal["sc", "seg", "pm", "sr", "gsps", "blend", "ko", "pdf", "cine"]
DEFAULT_KINDS: tuple[ResultKind, ...] = ("sc", "seg", "sr")
"""What is made and sent where nobody says otherwise: the kinds that common viewers open (docs/viewers.md)."""


def result_kinds(names: Sequence[str]) -> tuple[ResultKind, ...]:
    """The kinds of result that these names stand for.

    Raises
    ------
    ConfigError
        If there is no such kind.
    """
    known = get_args(ResultKind)
    for name in names:
        if name not in known:
            raise ConfigError(f"there is no kind of result {name!r}", advice=f"There are {', '.join(known)}.")
    return tuple(kind for kind in known if kind in names)


KIND_TITLES: Mapping[ResultKind, str] = {
    "sc": "Page",
    "seg": "Segmentation",
    "pm": "Parametric Map",
    "sr": "Report",
    "gsps": "Presentation state",
    "blend": "Presentation state in colour",
    "ko": "Key images",
    "pdf": "Printed report",
    "cine": "Cine",
}
"""What each kind is called on the admin page."""


def kind_title(kind: str) -> str:
    """What a kind is called; a kind of an earlier version by its name."""
    return next((title for known, title in KIND_TITLES.items() if known == kind), kind)
