"""From a graph's raw output to logits in the shape that everybody else relies on, and from logits to the answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.base.errors import ModelOutputError
from whyray.packages import Manifest, TargetSpec

_ROUNDING = 1e-3
"""How far a probability may lie outside 0..1: half precision and interpolation round."""


def probabilities(logits: FloatArray, activation: str, targets: Sequence[TargetSpec]) -> FloatArray:
    """(N, targets, ...) logits → the answer: activation, then each target's own calibration (Platt 1999)."""
    if activation == "sigmoid":
        answer = _sigmoid(logits)
    elif activation == "softmax":
        answer = logits - logits.max(axis=1, keepdims=True)
        np.exp(answer, out=answer)
        answer /= answer.sum(axis=1, keepdims=True)
    else:
        answer = logits.copy()
    for channel, target in enumerate(targets):
        if target.calibration is not None:
            a, b = target.calibration
            answer[:, channel] = _sigmoid(a * logits[:, channel] + b)
    return np.asarray(answer, np.float32)


def checked_logits(raw: FloatArray, batch: int, manifest: Manifest, *, identity: str, tensor: str) -> FloatArray:
    """The output of a pass over `batch` items as (N, targets) or, for a segmentation, (N, targets, *spatial); for an
    autoencoder the reconstruction, (N, C, *spatial); for a captioner what its decoder attends to, (N, ...).

    Raises ModelOutputError where it does not fit the manifest's targets, or has NaN or infinite values.
    """
    if manifest.task == "captioner":
        if len(raw) != batch or raw.ndim < 2 or not np.isfinite(raw).all():
            raise ModelOutputError(f"{identity}: expected finite numbers for {batch} inputs, found shape {raw.shape}")
        return raw
    count = manifest.input.channels if manifest.task == "autoencoder" else len(manifest.targets)
    segmentation = manifest.task in ("segmentation", "autoencoder")
    logits = raw
    if manifest.input.layout == "NHWC" and logits.ndim == 4 and logits.shape[-1] == count:
        logits = np.moveaxis(logits, -1, 1)
    if not segmentation and logits.size == batch * count:
        logits = logits.reshape(batch, count)
    rank = 2 + len(manifest.input.shape) * segmentation
    if logits.ndim != rank or logits.shape[:2] != (batch, count):
        raise ModelOutputError(
            f"{identity}: expected {count} targets for {batch} inputs in an output of {rank} axes, "
            f"found shape {logits.shape}",
            advice="Make targets in model.yaml match the output's channels."
            if logits.ndim == rank or segmentation
            else "Name the output that has one score for each target (N, targets) in output.name. Where there is none, "
            "as in a detector, give the graph one, e.g. the largest of all boxes' scores of each target; a model that "
            "answers for each place is a segmentation.",
        )
    if not np.isfinite(logits).all():
        raise ModelOutputError(f"{identity}: the output {tensor!r} has NaN or infinite values")
    return logits


def refuse_another_grid(answer: FloatArray, manifest: Manifest, *, identity: str, tensor: str) -> None:
    """ModelOutputError where a segmentation (N, targets, *spatial) is not on the grid of the image that it is of."""
    wanted, shape = manifest.input.shape, answer.shape[2:]
    if manifest.task == "segmentation" and shape != wanted:
        raise ModelOutputError(
            f"{identity}: expected the output {tensor!r} on the image's grid of {' × '.join(map(str, wanted))}, found "
            f"{' × '.join(map(str, shape))}",
            advice="End the graph with a Resize to the size of its input; what was cropped by convolutions without "
            "padding has to be padded before.",
        )


def refuse_no_probabilities(answer: FloatArray, *, identity: str, tensor: str) -> None:
    """ModelOutputError where the answers of a classification or segmentation leave 0..1."""
    low, high = float(answer.min()), float(answer.max())
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise ModelOutputError(
            f"{identity}: expected probabilities, since output.activation is none, and found {low:.4g} … {high:.4g} in "
            f"the output {tensor!r}",
            advice="Set output.activation to what turns the output into probabilities: sigmoid or softmax.",
        )


def _sigmoid(logits: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), np.float32)
