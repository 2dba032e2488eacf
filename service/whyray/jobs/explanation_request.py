"""What a route, or the command line, asks of a package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Progress = Callable[[float, str], None]
"""Called between batches with the share done (0..1) and words; raises `Cancelled` to stop the work."""


def reading_progress(progress: Progress) -> Callable[[str], None]:
    """Tell that the images are being read, and give what tells how far that is."""
    progress(0.0, "reading the images")
    return lambda words: progress(0.0, f"reading the images: {words}")


MOST_FRAMES = 16
"""Frames of a multi-frame instance that are explained where nobody says otherwise."""


@dataclass(frozen=True)
class ExplanationRequest:
    """What a route, or the command line, asks of a package.

    Attributes
    ----------
    methods
        Method, or group of methods (see `whyray.explain.GROUPS`) → parameters; the package's and the paper's defaults
        fill the rest.
    targets
        `present`: the findings at or above their threshold or without one, and the nearest one where there is none;
        `top`: the `most` nearest to or above it; `all`; or names.
    most
        At most so many targets of an image are explained, the clearest first. None: no limit.
    most_frames
        At most so many frames of a multi-frame instance are explained, those with the clearest answers; of `present`
        targets, only frames with a finding, where there are any. All are answered. None: no limit.
    most_forwards
        At most so many forward passes for the quality card of one explanation; None: what suits the model.
    prevalence
        How common findings are where the images come from: target → 0..1; of targets of other packages as well.
    language, phrases
        Language of explanations in words, and the folder of a site's templates.
    """

    methods: Mapping[str, Mapping[str, object]]
    targets: Literal["present", "top", "all"] | tuple[str, ...] = "present"
    most: int | None = None
    most_frames: int | None = MOST_FRAMES
    most_forwards: int | None = None
    seed: int = 0
    prevalence: Mapping[str, float] = field(default_factory=dict)
    language: str = "en"
    phrases: Path | None = None
