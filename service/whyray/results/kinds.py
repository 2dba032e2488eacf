"""Which kinds of results there are, and who makes them in which order: later ones refer to earlier ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from whyray.base.errors import ConfigError
from whyray.base.failures import activity
from whyray.base.stages import stage
from whyray.config import ResultKind
from whyray.results.answer import Result
from whyray.results.charset import set_character_set
from whyray.results.report import EarlierResult

Drawn = Callable[[NDArray[np.uint8]], None]
"""Told of the picture of a result, to which nobody writes any more, while other results are made."""
Finished = Callable[[Result], object]
"""Told of a result that nobody changes any more, while others are made; of some twice."""
EVERY_KIND: tuple[ResultKind, ...] = ("sc", "cine", "seg", "pm", "sr", "gsps", "blend", "ko", "pdf")
"""All that can be made."""


class KindMaker(Protocol):
    """Makes the results of each kind; later kinds refer to what was made before."""

    def captures(self) -> list[Result]:
        """Pages."""

    def cines(self) -> list[Result]:
        """The steps of counterfactuals, to be played."""

    def segmentations(self) -> list[Result]:
        """Segmentations."""

    def maps(self) -> list[Result]:
        """Parametric Maps."""

    def report(self, previous: Sequence[EarlierResult]) -> Result:
        """The report."""

    def presentation_states(self) -> list[Result]:
        """Grayscale softcopy presentation states."""

    def blends(self) -> list[Result]:
        """Blending presentation states."""

    def key_objects(self) -> list[Result]:
        """Key object selections."""

    def document(self) -> Result:
        """The printable report."""


def make_kinds(
    maker: KindMaker,
    kinds: Sequence[ResultKind],
    previous: Sequence[EarlierResult],
    header: Dataset,
    about: str,
    drawn: Drawn = lambda _: None,
    finished: Finished = lambda _: None,
) -> list[Result]:
    """The results of the wanted kinds in their order, in the character set of `header`.

    `about` is told in errors; `drawn` of the pictures of a kind, and `finished` of its results, as soon as it is made.
    """
    made: list[Result] = []
    makers: dict[ResultKind, tuple[str, Callable[[], list[Result]]]] = {
        "sc": ("pages", maker.captures),
        "cine": ("cines", maker.cines),
        "seg": ("Segmentation", maker.segmentations),
        "pm": ("Parametric Map", maker.maps),
        "sr": ("report", lambda: [maker.report(previous)]),
        "gsps": ("presentation state", maker.presentation_states),
        "blend": ("blending presentation state", maker.blends),
        "ko": ("key object selection", maker.key_objects),
        "pdf": ("printable report", lambda: [maker.document()]),
    }
    for kind, (name, make) in makers.items():
        if kind in kinds:
            with activity(f"making the {name} of {about}"), stage(f"objects: {kind}"):
                of_kind = make()
            for result in of_kind:
                if result.picture is not None:
                    drawn(result.picture)
            for result in of_kind:
                set_character_set(result.dataset, header)
                finished(result)
            made += of_kind
    return made


def refuse_unmakeable(kinds: Sequence[ResultKind]) -> None:
    """Refuse blends without the maps that they refer to.

    Raises
    ------
    ConfigError
        If blends are wanted, and Parametric Maps are not.
    """
    if "blend" in kinds and "pm" not in kinds:
        raise ConfigError("results of kind blend show Parametric Maps", advice="Ask for pm too.")
