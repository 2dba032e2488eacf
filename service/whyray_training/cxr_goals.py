"""What the chest student is asked to answer: the NIH's label and the teacher's opinion, mixed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from whyray_training.cxr_data import FINDINGS, Radiographs


@dataclass(frozen=True)
class Goals:
    """What each image should give: mixed label in 0..1, the teacher's recalibrated logit, and where there is one."""

    mixed: Tensor
    imitated: Tensor
    known: Tensor


def goals(data: Radiographs) -> Goals:
    """Half NIH's label, half the teacher's probability after Platt scaling on the training images."""
    imitated = np.zeros_like(data.labels)
    known = ~np.isnan(data.teacher)
    for index in range(len(FINDINGS)):
        usable = ~np.isnan(data.teacher[:, index])
        seen, label = data.teacher[usable, index], data.labels[usable, index]
        if len(np.unique(label)) > 1:
            fit = LogisticRegression(C=1.0).fit(seen[:, None], label)
            scale, shift = max(float(fit.coef_[0, 0]), 0.3), float(fit.intercept_[0])
        else:
            scale, shift = 1.0, 0.0
        imitated[:, index] = np.where(known[:, index], scale * np.nan_to_num(data.teacher[:, index]) + shift, 0.0)
    soft = 1 / (1 + np.exp(-imitated))
    mixed = np.where(known, 0.5 * data.labels + 0.5 * soft, data.labels)
    tensors = [torch.from_numpy(array).float() for array in (mixed, imitated, known.astype(float))]
    return Goals(*tensors)
