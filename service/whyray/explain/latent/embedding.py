"""The vector that stands for a case: the package's embedding, else its feature maps averaged over places."""

from __future__ import annotations

from whyray.base.arrays import FloatArray
from whyray.base.errors import TierMissing
from whyray.inference import AffineHead, Model, Run, affine_head

POOLED = "features, averaged over places"


def embedding_name(model: Model) -> str | None:
    """What the embedding is, in words that an index keeps; None where the model has none."""
    if model.manifest.output.embedding is not None:
        return model.manifest.output.embedding
    return None if model.network.features_name is None else POOLED


def case_embedding(run: Run) -> FloatArray | None:
    """(D,) float32 of one image's run, in the graph's own scale; None where the run has neither of the two."""
    if run.embedding is not None:
        own: FloatArray = run.embedding[0]
        return own
    if run.features is None:
        return None
    pooled: FloatArray = run.features[0].reshape(run.features.shape[1], -1).mean(axis=1)
    return pooled


def required_embedding(model: Model, run: Run) -> FloatArray:
    """(D,) as `case_embedding`. Raises TierMissing where the model has none."""
    embedding = case_embedding(run)
    if embedding is None:
        raise no_embedding(model)
    return embedding


def no_embedding(model: Model) -> TierMissing:
    """The refusal of whatever needs an embedding."""
    return TierMissing(
        f"{model.identity} has neither an embedding nor feature maps",
        advice="Name a tensor of the graph in output.embedding of model.yaml.",
    )


def head_on_embedding(model: Model) -> AffineHead | None:
    """The logits as weight · embedding + bias, for heads that are affine in the embedding; None for others.

    weight: (targets, D). Checked against ONNX Runtime on random vectors. Made once.
    """
    return model.once(("head on embedding",), lambda: _head_on_embedding(model))


def _head_on_embedding(model: Model) -> AffineHead | None:
    if model.task == "segmentation":
        return None
    name = model.manifest.output.embedding
    if name is None:
        head = model.network.head
        return head if head is not None and head.kind == "pooled" else None
    shape = model.network.graph.shapes.get(name)
    if shape is None or any(size is not None and size < 1 for size in shape[1:]) or _volume(shape) > _LARGEST:
        return None
    head = affine_head(model.network.graph, name, model.network.logits_name, model.options)
    return head if head is not None and head.weight.shape == (len(model.targets), _volume(shape)) else None


def _volume(shape: tuple[int | None, ...]) -> int:
    volume = 1
    for size in shape[1:]:
        volume *= size or 1
    return volume


_LARGEST = 8192
"""Dimensions up to which a head is measured by one run for each."""
