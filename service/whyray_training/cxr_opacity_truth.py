"""What is known of lung opacity on each radiograph: sure, marked, excluded, or a guess from NIH's labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import BoolArray, DoubleArray
from whyray_training.cxr_boxed_data import BoxedRadiographs
from whyray_training.cxr_data import FINDINGS

SOURCE, OPACITY = "RSNA", ("Lung Opacity",)
OTHER_SOURCE, OTHER_OPACITY = "NIH", ("Pneumonia", "Infiltrate")
_EXPECTED = {
    "Consolidation": 0.7,
    "Edema": 0.65,
    "Pneumonia": 0.55,
    "Infiltration": 0.5,
    "Atelectasis": 0.4,
    "Effusion": 0.4,
    "Mass": 0.35,
    "Nodule": 0.15,
}
"""How often a radiograph with this label of the NIH's shows an opacity: RSNA's readers saw one in 93 of 213 labelled
Pneumonia, 34 of 45 Edema, 43 of 79 Infiltration, 6 of 11 Consolidation, 17 of 39 Effusion, 9 of 46 Atelectasis."""
_OTHERWISE, _UNSURE = 0.12, 0.4


@dataclass(frozen=True)
class OpacityTruth:
    """For each of N radiographs, (N,) each.

    opacity: RSNA's readers marked boxes; other: they saw something, but no opacity; normal: they saw nothing, or did
    not read and the NIH's label is 'No Finding'; marked: boxes of the NIH's for an opacity, where RSNA's did not read
    (they leave opacities out). expected: probability of an opacity, and weight: how much that is worth as a target.
    """

    opacity: BoolArray
    other: BoolArray
    normal: BoolArray
    marked: BoolArray
    expected: DoubleArray
    weight: DoubleArray

    @property
    def unsure(self) -> BoolArray:
        """Nobody read the radiograph for opacities: the expected answer is a guess."""
        return ~(self.opacity | self.other | self.normal)


def opacity_truth(data: BoxedRadiographs) -> OpacityTruth:
    """From RSNA's classes, then adjudicated and NIH's labels and the teacher's opinion of consolidation."""
    opacity, other = data.rsna == "Lung Opacity", data.rsna == "No Lung Opacity / Not Normal"
    normal = (data.rsna == "Normal") | (data.healthy & (data.rsna == "") & (data.airspace != "YES"))
    unsure = ~(opacity | other | normal)
    marked = np.array([data.marked(row, OTHER_SOURCE, OTHER_OPACITY).any() for row in range(len(data))]) & unsure
    expected, weight = opacity.astype(float), np.ones(len(data))
    weight[unsure] = _UNSURE
    expected[unsure] = _expected(data, np.flatnonzero(unsure))
    return OpacityTruth(opacity, other, normal, marked, expected, weight)


def _expected(data: BoxedRadiographs, rows: NDArray[np.int64]) -> DoubleArray:
    shares = np.array([_EXPECTED.get(finding, _OTHERWISE) for finding in FINDINGS])
    guess = np.maximum((data.labels[rows] * shares).max(axis=1), _OTHERWISE)
    opinion = data.teacher[rows, FINDINGS.index("Consolidation")]
    usual = np.log(0.04)
    log_probability = -np.logaddexp(0, -np.nan_to_num(opinion))
    moved = 0.6 * np.log(guess / (1 - guess)) + log_probability - usual
    guess = np.where(np.isnan(opinion), guess, 1 / (1 + np.exp(-moved)))
    guess = np.where(data.airspace[rows] == "YES", 0.9, guess)
    return np.asarray(np.where(data.airspace[rows] == "NO", 0.15, guess))
