"""The rest of a network behind a layer: how each target's logit changes with the layer's activations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.base.errors import PackageError, TierMissing
from whyray.inference import (
    PARITY,
    Model,
    TwinConverter,
    first_right,
    is_affine,
    parity_gap,
    probes_of_features,
    pulled_back,
    rounding_operators,
    to_torch,
    unproven,
)
from whyray.packages import reads


class LayerToLogits:
    """The graph from a layer to the logits, in torch for gradients and in ONNX Runtime to check them.

    The layer's activations are (N, D) or (N, D, *grid). A direction in it is (D,): the same at each position.
    Raises TierMissing where the graph behind the layer does not convert, PackageError where there is no such layer or
    the logits depend on more than it.
    """

    def __init__(self, model: Model, layer: str) -> None:
        if layer not in model.network.graph.producer:
            raise PackageError(
                f"{model.network.graph.where}: no tensor is called {layer!r}",
                advice="Name an inner tensor of the graph; a viewer of ONNX graphs shows them.",
            )
        self.layer = layer
        self.run = model.network.head_from(layer)
        self._model = model
        self._behind = model.network.graph.cut(layer, model.network.logits_name)
        right, reason = first_right(self._converted)
        if right is None:
            reason += rounding_operators(model.network.graph.proto.graph)
            raise TierMissing(f"{model.identity}: the graph behind {layer!r} does not convert: {reason}")
        self._torch = right

    def _converted(self, converter: TwinConverter) -> Any:
        """The rest of the network by a converter; ValueError where its gradients are not proven."""
        module = to_torch(self._behind, converter).to(self._model.session.torch_device)
        kind = f"gradient behind {self.layer}"
        reason = self._model.gradients.proof(kind, converter.name, lambda: self._unproven(module))
        if reason:
            raise ValueError(reason)
        return module

    def _unproven(self, module: Any) -> str:
        sizes = [size or 1 for size in self._model.network.graph.shapes.get(self.layer, ())[1:]]
        if not sizes:
            return "its gradients can't be proven, since the layer's shape is not known"
        random = np.random.default_rng(0).normal(size=(1, *sizes)).astype(np.float32)
        device = self._model.session.torch_device
        answers = self._model.session.in_single_precision.network.head_from(self.layer)
        return unproven(
            answers, lambda x, weights: pulled_back(module, x, weights, device), probes_of_features(random, answers)
        )

    def logits(self, activations: FloatArray) -> FloatArray:
        """(N, targets) by ONNX Runtime."""
        answer = self.run(activations)
        return answer.reshape(len(activations), -1)

    def slopes(self, activations: FloatArray, targets: Sequence[int]) -> tuple[FloatArray, float]:
        """(N, targets, D): d logit / d activation, summed over positions; and torch's gap to ONNX Runtime's logits.

        Raises TierMissing where the gap is above the twin's.
        """
        import torch

        leaf = (
            torch.from_numpy(np.ascontiguousarray(activations))
            .to(self._model.session.torch_device)
            .requires_grad_(True)
        )
        answer = self._torch(leaf)
        answer = (answer[0] if isinstance(answer, (tuple, list)) else answer).reshape(len(activations), -1)
        gap = parity_gap(answer.detach().cpu().numpy(), self.logits(activations))
        if not gap <= PARITY:
            raise TierMissing(f"{self._model.identity}: the graph behind {self.layer!r} differs in torch by {gap:.2g}")
        slopes = np.empty((len(activations), len(targets), activations.shape[1]), np.float32)
        for place, target in enumerate(targets):
            (gradient,) = torch.autograd.grad(answer[:, target].sum(), leaf, retain_graph=place + 1 < len(targets))
            flat = gradient.reshape(*gradient.shape[:2], -1).sum(dim=2)
            slopes[:, place] = flat.cpu().numpy()
        return slopes, gap


def layer_to_logits(model: Model, layer: str) -> LayerToLogits:
    """The tail behind a layer, made once for each model."""
    return model.once(("layer_to_logits", layer), lambda: LayerToLogits(model, layer))


def pooled(activations: FloatArray) -> FloatArray:
    """(N, D): the mean over positions."""
    flat: FloatArray = activations.reshape(*activations.shape[:2], -1).mean(axis=2)
    return flat


def curved_layer(model: Model) -> str | None:
    """The layer behind which the network is not affine, so that sensitivities differ from image to image: the
    embedding, else the features, else the last such layer.

    All ways from the input to the logits pass it, and it has more channels than there are targets, so that it has
    room for directions that are not answers. None where there is no such layer.
    """
    return next((layer for layer in _layers(model) if _is_curved(model, layer)), None)


def _layers(model: Model) -> Iterator[str]:
    """Inner tensors, those that the manifest names first, then from the last to the first."""
    yield from (
        tensor for tensor in (model.manifest.output.embedding, model.network.features_name) if tensor is not None
    )
    for node in reversed(model.network.graph.proto.graph.node):
        yield from reads(node)


def _is_curved(model: Model, name: str) -> bool:
    graph = model.network.graph
    shape = graph.shapes.get(name)
    if shape is None or len(shape) not in (2, len(model.spatial_shape) + 2) or (shape[1] or 0) <= len(model.targets):
        return False
    if name in (graph.input, model.network.logits_name) or name not in graph.producer or name in graph.constants:
        return False
    nodes = graph.between(name, model.network.logits_name)
    return bool(nodes) and not is_affine(nodes or [], name)
