"""What an answer must be like before anything is made of it."""

from __future__ import annotations

import numpy as np

from whyray.base.errors import ExplanationError, ImageError
from whyray.base.frame_array import FrameArray, Frames
from whyray.results.answer import Answer


def refuse_inconsistent(answer: Answer) -> None:
    """Refuse images that can't be referred to, and maps that don't lie on them: nothing downstream could notice.

    Raises
    ------
    ImageError
        If an instance of the source lacks a UID that results have to name.
    ExplanationError
        If a map or a segment does not have the image's shape, or a map holds values that are not finite.
    """
    for uid, header in answer.image.headers.items():
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID"):
            if not header.get(keyword):
                raise ImageError(f"instance {uid} has no {keyword}, which its results have to name")
    shape = answer.image.shape
    study = answer.image.header.get("StudyInstanceUID")
    for finding in answer.findings:
        if finding.mask is not None and finding.mask.shape != shape:
            raise ExplanationError(
                f"study {study}: the segment {finding.target.name!r} has shape {finding.mask.shape}, the image {shape}"
            )
        for heatmap in finding.maps:
            where = f"study {study}: the map of {finding.target.name!r} by {heatmap.method}"
            if not heatmap.values.shape == heatmap.region.shape == heatmap.covered.shape == shape:
                raise ExplanationError(
                    f"{where} has values {heatmap.values.shape}, region {heatmap.region.shape} and field of view "
                    f"{heatmap.covered.shape}; the image has {shape}"
                )
            if not _is_finite(heatmap.values):
                raise ExplanationError(f"{where} holds values that are not finite")


def _is_finite(values: Frames[np.float32]) -> bool:
    return values.is_finite() if isinstance(values, FrameArray) else bool(np.isfinite(values).all())
