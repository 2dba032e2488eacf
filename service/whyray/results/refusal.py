"""Why a method could not explain an answer: a reason that people read in their language, and the error's own words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from whyray.base.errors import (
    ArtefactMissing,
    ConfigError,
    ExplanationError,
    ImageError,
    ModelOutputError,
    PackageError,
    TierMissing,
    WhyRayError,
)

RefusalReason = Literal["model", "missing", "settings", "image", "answer", "no_result", "defect"]
_REASONS: tuple[tuple[type[WhyRayError], RefusalReason], ...] = (
    (TierMissing, "model"),
    (ArtefactMissing, "missing"),
    (PackageError, "missing"),
    (ConfigError, "settings"),
    (ImageError, "image"),
    (ModelOutputError, "answer"),
    (ExplanationError, "no_result"),
)


@dataclass(frozen=True)
class Refusal:
    """Why a method could not explain an answer.

    Attributes
    ----------
    reason
        Which of the reasons that pages and reports tell in their language.
    words
        The error's message, in English: for report.json, the admin page and a comment of the report.
    """

    reason: RefusalReason
    words: str

    @staticmethod
    def of(error: WhyRayError) -> Refusal:
        """The refusal that an error is."""
        reasons: list[RefusalReason] = [reason for kind, reason in _REASONS if isinstance(error, kind)]
        return Refusal((*reasons, "defect")[0], error.message)
