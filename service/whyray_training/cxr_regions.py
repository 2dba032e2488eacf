"""Where on a radiograph each finding is looked for: fields from the anatomy, inside which evidence counts."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from whyray_training.cxr_anatomy_labels import CLASSES
from whyray_training.cxr_data import FINDINGS
from whyray_training.cxr_local_net import lung_field

_HEART, _MEDIASTINUM = CLASSES.index("heart"), CLASSES.index("mediastinum")
BASES, HEART, HIATUS = frozenset({"Effusion"}), frozenset({"Cardiomegaly"}), frozenset({"Hernia"})
REGIONS = {
    finding: "the lower halves of the lungs with their seam, where the costophrenic angles are"
    if finding in BASES
    else "the heart with a seam"
    if finding in HEART
    else "the lower half of heart and mediastinum with a seam"
    if finding in HIATUS
    else "the lungs with a seam"
    for finding in FINDINGS
}
"""In words, for the card."""


def finding_fields(probabilities: Tensor) -> Tensor:
    """Anatomy (N, 5, 56, 56) to (N, 14, 28, 28) in 0..1: where each of FINDINGS counts, in their order.

    Lower halves begin softly at the height of the lungs' centre of area.
    """
    lungs = lung_field(probabilities)
    heart = _with_seam(probabilities[:, _HEART : _HEART + 1])
    middle = _with_seam(probabilities[:, _HEART : _HEART + 1] + probabilities[:, _MEDIASTINUM : _MEDIASTINUM + 1])
    low = _lower(probabilities)
    fields = []
    for finding in FINDINGS:
        if finding in BASES:
            fields.append(lungs * low)
        elif finding in HEART:
            fields.append(heart)
        elif finding in HIATUS:
            fields.append(middle * low)
        else:
            fields.append(lungs)
    return torch.cat(fields, dim=1)


def _with_seam(structure: Tensor) -> Tensor:
    wider = functional.max_pool2d(structure, 5, 1, 2)
    soft = functional.avg_pool2d(wider, 5, 1, 2, count_include_pad=False)
    return functional.avg_pool2d(soft, 2)


def _lower(probabilities: Tensor) -> Tensor:
    lungs = functional.avg_pool2d(probabilities, 2)[:, 1:3].sum(dim=1, keepdim=True) + 1e-4
    line = torch.linspace(-1, 1, lungs.shape[2]).reshape(-1, 1)
    total = lungs.sum(dim=(2, 3), keepdim=True)
    middle = (lungs * line).sum(dim=(2, 3), keepdim=True) / total
    return torch.sigmoid((line - middle) * 12) + 0 * lungs
