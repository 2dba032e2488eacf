"""The PACS of the demo, whatever program it is: it takes studies, routes them to WhyRay, and shows what came back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from whyray.demo.modality import Modality

__all__ = ["DemoPacs", "Modality"]


class DemoPacs(Protocol):
    """A small PACS on this machine."""

    ae_title: str
    host: str
    dicom_port: int

    @property
    def name(self) -> str:
        """What it is, for people."""
        ...

    @property
    def web_url(self) -> str | None:
        """Where a browser shows its studies, if it can."""
        ...

    def start(self) -> None:
        """Start, and wait until it answers.

        Raises
        ------
        PeerUnreachable
            If it does not.
        """
        ...

    def stop(self) -> None:
        """Stop; what it holds stays in its folder. A second call does nothing."""
        ...

    def store(self, paths: Sequence[Path]) -> None:
        """Send files to it by C-STORE as a modality does; it routes the studies to WhyRay by itself.

        Raises
        ------
        WhyRayError
            If one file is not stored, with the PACS's answer.
        """
        ...

    def results(self, study_instance_uid: str) -> list[Path]:
        """Files of the objects in a study that WhyRay sent, in the order of their SOP Instance UIDs."""
        ...

    def studies(self) -> dict[str, int]:
        """How many instances it holds, by Study Instance UID."""
        ...
