"""What the chest captioner's captions are worth: what they state, held against what the explained model answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from whyray.base.arrays import BoolArray
from whyray_training.cxr_captions import Phrasebook, said
from whyray_training.figures import Interval, bootstrap, rounded

Told = npt.NDArray[np.int64]


def against(told: Told, truth: BoolArray, seed: int) -> dict[str, Any]:
    """Of what captions state, told (N, K) as `said` gives it, how much is true (N, K); intervals over images.

    `present` is of statements that a finding is there, `absent` of those that it is not: precision is the share of
    these statements that is true, recall the share of what is so that is stated.
    """
    figures: dict[str, Any] = {
        "images": len(told),
        "stated": rounded(float((told >= 0).mean())),
        "agreement": bootstrap(lambda cases: _agreement(told[cases], truth[cases]), len(told), seed),
        "denying everything": rounded(float((~truth).mean())),
    }
    for word, number, so in (("present", 1, truth), ("absent", 0, ~truth)):
        stated = told == number
        figures[word] = {"precision": _interval(so, stated, seed), "recall": _interval(stated, so, seed)}
    return figures


def each_finding(told: Told, truth: BoolArray, book: Phrasebook) -> dict[str, dict[str, Any]]:
    """The same of each finding, without intervals; and how often it is answered and stated."""
    by_finding = {}
    for place, name in enumerate(book.findings):
        stated, so = told[:, place] == 1, truth[:, place]
        by_finding[name] = {
            "answered": int(so.sum()),
            "stated": int(stated.sum()),
            "precision": _finite(_share(so, stated)),
            "recall": _finite(_share(stated, so)),
            "agreement": rounded(_agreement(told[:, place], so)),
        }
    return by_finding


def follow_the_image(captions: Sequence[str], empty: Sequence[str]) -> dict[str, Any]:
    """Whether words change with the image: how many captions differ, and how many from those of empty images."""
    return {
        "different captions": len(set(captions)),
        "unlike that of the image before": rounded(
            float(np.mean([one != other for one, other in zip(captions[1:], captions[:-1], strict=True)]))
        ),
        "unlike all of empty images": rounded(float(np.mean([caption not in empty for caption in captions]))),
        "captions of empty images": list(empty),
    }


def told_in(captions: Sequence[str], book: Phrasebook) -> Told:
    """(N, 14) as `said` gives it."""
    return np.stack([said(caption, book) for caption in captions])


def _interval(so: BoolArray, of: BoolArray, seed: int) -> Interval:
    return bootstrap(lambda cases: _share(so[cases], of[cases]), len(so), seed)


def _agreement(told: Told, truth: BoolArray) -> float:
    return _share((told == 1) == truth, told >= 0)


def _share(so: BoolArray, of: BoolArray) -> float:
    return float(so[of].mean()) if of.any() else float("nan")


def _finite(share: float) -> float | None:
    return rounded(share) if np.isfinite(share) else None
