"""What a PACS knows of a peer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from whyray.delivery import Outcome


@dataclass(frozen=True)
class Modality:
    """A peer that a PACS knows: where it sends to, and whom it reports storage commitment to."""

    ae_title: str
    host: str
    port: int


def all_stored(outcomes: Sequence[Outcome]) -> None:
    """Raise the first error among the outcomes of a sending.

    Raises
    ------
    WhyRayError
        If one file is not stored.
    """
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error
