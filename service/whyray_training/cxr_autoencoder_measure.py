"""How good the chest autoencoder is: like the picture, and like it in the eyes of the classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from skimage.metrics import structural_similarity

from whyray.explain import Case, as_input, resampled
from whyray.explain.counterfactual import LatentSpace, refined
from whyray.explain.counterfactual.refine import STEPS
from whyray.inference import Autoencoder
from whyray_training import figures
from whyray_training.cxr_autoencoder_data import Lesson, Observer

REFINED = 40
"""Pictures on which refinement is measured: it takes seconds for each."""
FIDELITY = 0.1
"""|f(x) - f(D(E(x)))|, in probability, up to which a counterfactual may be shown."""


def likeness(autoencoder: Autoencoder, observer: Observer, data: Lesson, seed: int) -> dict[str, Any]:
    """All figures of one set of pictures, each with its interval over pictures."""
    seen = data.seen.astype(np.float32)
    pictures = autoencoder.reconstruct(seen)
    model = observer.model
    logits = observer.answers(resampled(pictures, model.spatial_shape))[2]
    before, after = model.answer(data.logits), model.answer(logits)
    gap, gap_logit = np.abs(before - after), np.abs(data.logits - logits)
    thresholds = np.array([target.threshold for target in model.manifest.targets])
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


def after_refinement(folder: Path, observer: Observer, data: Lesson, seed: int) -> dict[str, Any]:
    """The gap that is left when latents are refined for one picture and its strongest finding, as latent-shift does."""
    model, method = observer.model, "latent-shift"
    space = LatentSpace(model, method=method, reference=str(folder))
    thresholds = np.array([target.threshold for target in model.manifest.targets])
    rows = np.linspace(0, len(data) - 1, min(REFINED, len(data))).astype(int)
    gaps = []
    for row in rows:
        before = model.answer(data.logits[row : row + 1])[0]
        target = int((before / thresholds).argmax())
        case = Case(model, data.full[row][None, None].astype(np.float32) / 255, [target])
        encoded = space.encode(case.display[None])
        latents = refined(case, space, encoded, STEPS, method).latents
        pictures = space.decode(np.concatenate([encoded, latents]))
        after = model.answer(model.session.logits(as_input(pictures, model.manifest.input)))[:, target]
        errors = ((pictures - case.display) ** 2).mean(axis=(1, 2))
        gaps.append([*np.abs(after - before[target]), *(1000 * errors), float(before[target] >= thresholds[target])])
    encoder_gap, gap, encoder_error, error, present = np.array(gaps).T

    def over(values: npt.NDArray[Any]) -> figures.Interval:
        return figures.bootstrap(lambda cases: float(values[cases].mean()), len(values), seed)

    return {
        "pictures": len(rows),
        "present": int(present.sum()),
        "encoder_gap": over(encoder_gap),
        "encoder_within": over(encoder_gap <= FIDELITY),
        "gap": over(gap),
        "largest_gap": figures.rounded(gap.max()),
        "within": over(gap <= FIDELITY),
        "encoder_mse_per_mille": over(encoder_error),
        "mse_per_mille": over(error),
    }
