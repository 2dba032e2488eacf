"""How well a package's answers tell images with a finding from those without: the AUC on labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.base.statistics import auc, auc_interval, effective_count

METHOD = "Newcombe 2006, method 5, counting patients by Kish 1965"


def discrimination(
    targets: Sequence[str],
    probabilities: NDArray[np.float32],
    labels: NDArray[np.float64],
    patients: Sequence[str],
) -> dict[str, Any]:
    """The AUC of each target with its 95 % interval, by patient; targets that nobody labelled are left out.

    `probabilities` and `labels` (images, targets): 0, 1, or NaN for unknown; `patients` (images,): whose an image is,
    empty where nobody knows: it counts as a patient of its own, and the report says of how many that is so. No AUC
    where one class is missing: nothing can be claimed from it.

    Images of one patient count as far as they would if they all said the same: the interval is rather too wide than too
    narrow.
    """
    owners = np.array([patient or f"image {number}" for number, patient in enumerate(patients)])
    report: dict[str, Any] = {}
    for number, target in enumerate(targets):
        known = np.flatnonzero(np.isfinite(labels[:, number]))
        if not known.size:
            continue
        answers, true, whose = (
            probabilities[known, number].astype(np.float64),
            labels[known, number] > 0.5,
            owners[known],
        )
        entry: dict[str, Any] = {
            "positive": int(true.sum()),
            "negative": int((~true).sum()),
            "patients": len(np.unique(whose)),
            "images of unknown patients": sum(not patients[int(row)] for row in known),
        }
        if true.any() and not true.all():
            value = auc(true.astype(np.float64), answers)
            ends = auc_interval(value, effective_count(whose[true]), effective_count(whose[~true]))
            entry |= {"AUC": round(value, 4), "interval": [round(end, 4) for end in ends], "method": METHOD}
        report[target] = entry
    return report
