"""What somebody may do: rights, and the roles of people and scopes of tokens that carry them.

Which right an operation needs is written in `whyray.admin.operations`, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Literal, get_args


class Right(StrEnum):
    """One kind of thing to do."""

    OPEN = "open"
    """Needs nobody's log-in."""
    SELF = "self"
    """About oneself."""
    QUEUE = "queue"
    """See what stands where: studies, jobs, findings, deliveries, events, figures; under UIDs, without pictures."""
    PICTURES = "pictures"
    """See pictures of results, which may have a name burned in, and judge results."""
    STEER = "steer"
    """Retry, cancel, test routes, ask destinations."""
    IDENTITY = "identity"
    """Take DICOM files, which carry the patient's identity."""
    ADMINISTER = "administer"
    """See accounts and tokens, open and close reader studies."""
    READING = "reading"
    """Take one's place in a reader study."""
    STORE = "store"
    """Send studies by STOW-RS, and put workitems into the worklist."""


Role = Literal["viewer", "operator", "administrator", "reader"]
Scope = Literal["read", "steer", "admin", "stow"]
ROLES: tuple[Role, ...] = get_args(Role)
SCOPES: tuple[Scope, ...] = get_args(Scope)

RIGHTS_OF_ROLE: Mapping[Role, frozenset[Right]] = {
    "viewer": frozenset({Right.SELF, Right.QUEUE}),
    "operator": frozenset({Right.SELF, Right.QUEUE, Right.PICTURES, Right.STEER}),
    "administrator": frozenset(Right) - {Right.STORE},
    "reader": frozenset({Right.SELF, Right.READING}),
}
RIGHTS_OF_SCOPE: Mapping[Scope, frozenset[Right]] = {
    "read": frozenset({Right.SELF, Right.QUEUE}),
    "steer": frozenset({Right.SELF, Right.QUEUE, Right.PICTURES, Right.STEER}),
    "admin": frozenset(Right) - {Right.STORE, Right.READING},
    "stow": frozenset({Right.STORE}),
}
WORDS: Mapping[Role | Scope, str] = {
    "viewer": "sees the queue: studies, jobs, findings and deliveries under their UIDs; no pictures, no files",
    "operator": "sees pictures too, judges results, retries, cancels, tests routes, asks destinations",
    "administrator": "does all of it, takes DICOM files, leads reader studies, sees accounts and tokens",
    "reader": "reads the cases of reader studies in which this name has a place; sees nothing else",
    "read": "what a viewer sees: for monitoring",
    "steer": "what an operator does",
    "admin": "what an administrator does, but for a place in a reader study",
    "stow": "sends studies by STOW-RS, and puts workitems into the worklist; nothing else",
}


def rights_of_scopes(scopes: Iterable[Scope]) -> frozenset[Right]:
    """What a token of these scopes may do."""
    return frozenset(right for scope in scopes for right in RIGHTS_OF_SCOPE[scope])
