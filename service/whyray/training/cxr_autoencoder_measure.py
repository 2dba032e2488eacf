"""How good the chest autoencoder is: like the picture, and like it in the eyes of the classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from skimage.metrics import structural_similarity

from whyray.explain.companion_grid import resampled
from whyray.models import Autoencoder
from whyray.training import figures
from whyray.training.cxr_autoencoder_data import Lesson, Observer

FIDELITY = 0.1
"""|f(x) - f(D(E(x)))|, in probability, up to which a counterfactual may be shown."""
FloatArray = npt.NDArray[np.float32]


def likeness(autoencoder: Autoencoder, observer: Observer, data: Lesson, seed: int) -> dict[str, Any]:
    """All figures of one set of pictures, each with its interval over pictures."""
    seen = data.seen.astype(np.float32)
    pictures = autoencoder.reconstruct(seen)
    model = observer.model
    logits = observer.answers(resampled(pictures, model.spatial_shape))[2]
    before, after = model.answer(data.logits), model.answer(logits)
    gap, gap_logit = np.abs(before - after), np.abs(data.logits - logits)
    thresholds = np.array([each.threshold for each in model.manifest.targets])
    present, kept = before >= thresholds, (before >= thresholds) == (after >= thresholds)
    error = ((pictures - seen) ** 2).mean(axis=(1, 2))
    alike = np.array(
        [structural_similarity(a, b, data_range=1.0) for a, b in zip(seen, pictures, strict=True)], np.float64
    )

    def over(values: npt.NDArray[Any]) -> figures.Interval:
        return figures.bootstrap(lambda cases: float(np.nanmean(values[cases])), len(values), seed)

    mse = figures.bootstrap(lambda cases: 1000 * float(error[cases].mean()), len(error), seed)
    return {
        "pictures": len(data),
        "mse_per_mille": mse,
        "psnr": over(-10 * np.log10(error)),
        "ssim": over(alike),
        "gap": over(gap),
        "gap_logit": over(gap_logit),
        "gap_within": over(gap <= FIDELITY),
        "gap_within_where_present": over(np.where(present, gap <= FIDELITY, np.nan)),
        "same_side": over(kept),
        "correlation_of_logits": figures.bootstrap(
            lambda cases: float(
                np.mean([np.corrcoef(data.logits[cases, k], logits[cases, k])[0, 1] for k in range(logits.shape[1])])
            ),
            len(logits),
            seed,
        ),
        "targets": {
            name: {
                "present": int(present[:, k].sum()),
                "gap": figures.rounded(gap[:, k].mean()),
                "gap_95": figures.rounded(np.quantile(gap[:, k], 0.95)),
                "gap_logit": figures.rounded(gap_logit[:, k].mean()),
                "within": figures.rounded((gap[:, k] <= FIDELITY).mean()),
            }
            for k, name in enumerate(model.targets)
        },
    }
