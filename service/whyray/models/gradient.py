"""Differentiable twins of a graph, or of its head, in torch: accepted only where they answer as ONNX Runtime does.

The converter (onnx2fx) is hidden here; nothing else knows it. Twins are functions, not modules with layers: methods
that hook modules do nothing on them, silently, so none is used on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from whyray.errors import TierMissing
from whyray.models.rules import Rule, run_with_rule

if TYPE_CHECKING:
    from whyray.models.model import Model

FloatArray = NDArray[np.float32]
PARITY = 1e-3
"""Largest difference of a twin's logits to ONNX Runtime's, relative to the largest logit."""


def parity_gap(twin: FloatArray, reference: FloatArray) -> float:
    """max |twin - reference| / max(1, max |reference|)."""
    return float(np.abs(twin - reference).max() / max(1.0, np.abs(reference).max()))


def to_torch(proto: Any) -> Any:
    """A torch module in eval mode from an ONNX model with one input and one output."""
    import onnx2fx

    return onnx2fx.convert(proto).eval().requires_grad_(False)


def device_of(model: Model) -> str:
    """The torch device that goes with the model's ONNX Runtime providers."""
    import torch

    return "cuda" if model.providers[0].startswith("CUDA") and torch.cuda.is_available() else "cpu"


class HeadGradient:
    """d logits / d features, for heads without a closed form (flatten and several layers, attention).

    Raises TierMissing where the head depends on more than the features, does not convert, or fails parity.
    """

    def __init__(self, model: Model) -> None:
        if model.features_name is None:
            raise TierMissing(f"{model.identity} has no feature maps: nothing to weigh for a class activation map")
        self._model = model
        if model.graph.between(model.features_name, model.logits_name) is None:
            raise TierMissing(
                f"{model.identity}: logits depend on the input by ways that pass {model.features_name!r} by",
                advice="Name a later tensor in output.features, one that all ways pass.",
            )
        try:
            self._head = to_torch(model.graph.cut(model.features_name, model.logits_name)).to(device_of(model))
        except Exception as error:  # the converter raises whatever its operator functions raise
            raise TierMissing(f"{model.identity}: the head does not convert: {error}") from error

    def __call__(
        self, features: FloatArray, logits: FloatArray, targets: Sequence[int], regions: FloatArray | None = None
    ) -> tuple[FloatArray, float]:
        """Gradients (targets, channels, *grid) of each target's score, and the gap to ONNX Runtime's logits.

        `features` (1, channels, *grid), `logits` (1, all targets, ...) of the same run. The score is the target's
        logit, or for a segmentation the sum of `regions` (targets, *spatial) times its logits.
        """
        import torch

        device = device_of(self._model)
        gradients = []
        gap = 0.0
        for number, target in enumerate(targets):
            leaf = torch.from_numpy(np.ascontiguousarray(features)).to(device).requires_grad_(True)
            answer = self._head(leaf)
            answer = (answer[0] if isinstance(answer, (tuple, list)) else answer).reshape(logits.shape)
            score = answer[0, target]
            if regions is not None:
                score = (score * torch.from_numpy(regions[number]).to(device)).sum()
            gap = max(gap, parity_gap(answer.detach().cpu().numpy(), logits))
            gradients.append(torch.autograd.grad(score, leaf)[0][0].cpu().numpy())
        if gap > PARITY:
            raise TierMissing(f"{self._model.identity}: the converted head differs from ONNX Runtime by {gap:.2g}")
        return np.stack(gradients), gap


class Twin:
    """The whole model in torch."""

    def __init__(self, model: Model) -> None:
        self._model = model
        graph = model.graph
        self.module = to_torch(graph.cut(graph.input, model.logits_name)).to(device_of(model))
        self.device = device_of(model)

    def logits(self, x: Any, rule: Rule | None = None, module: Any = None) -> Any:
        """Torch logits (N, targets, ...) of a channels-first torch tensor.

        `rule` may replace operators (see `rules`), and `module` stand for the twin's own (with batch norms folded).
        """
        import torch

        fed = torch.movedim(x, 1, -1) if self._model.manifest.input.layout == "NHWC" else x
        answer = self.module(fed) if rule is None else run_with_rule(module or self.module, fed, rule)
        answer = answer[0] if isinstance(answer, (tuple, list)) else answer
        if self._model.task == "autoencoder":
            return answer
        count = len(self._model.targets)
        if self._model.task != "segmentation":
            return answer.reshape(len(x), count)
        return torch.movedim(answer, -1, 1) if answer.shape[1] != count else answer

    def scores(self, logits: Any, targets: Sequence[int], regions: FloatArray | None) -> Any:
        """(N, targets) torch scores: logits, or a segmentation's sums of `regions` (targets, *grid) times logits."""
        import torch

        picked = logits[:, list(targets)]
        if regions is None:
            return picked
        weights = torch.from_numpy(regions).to(picked.device)
        return (picked * weights[None]).flatten(2).sum(dim=2)

    def gradients(
        self, x: FloatArray, targets: Sequence[int], regions: FloatArray | None = None, rule: Rule | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Gradients (targets, N, C, *spatial) of each target's score at `x` (N, C, *spatial), and logits (N, ...).

        One pass forward for all targets, one back for each.
        """
        import torch

        leaf = torch.from_numpy(np.ascontiguousarray(x)).to(self.device).requires_grad_(True)
        logits = self.logits(leaf, rule)
        scores = self.scores(logits, targets, regions).sum(dim=0)
        last = len(targets) - 1
        found = [
            torch.autograd.grad(score, leaf, retain_graph=number < last)[0].cpu().numpy()
            for number, score in enumerate(scores)
        ]
        return np.stack(found), logits.detach().cpu().numpy()


def verified_twin(model: Model) -> tuple[Twin | None, str]:
    """The twin if it answers as ONNX Runtime on three random inputs, else None and the reason."""
    import torch

    try:
        twin = Twin(model)
        shape = model.channels_first(np.zeros(model.input_shape, np.float32)).shape[1:]
        random = np.random.default_rng(0)
        for scale in (0.3, 1.0, 3.0):
            # Smooth noise: white noise drives trained nets where no image does.
            x = random.normal(size=(1, *shape)).astype(np.float32)
            x = np.cumsum(np.cumsum(x, axis=-1), axis=-2)
            x = (scale * x / x.std()).astype(np.float32)
            with torch.no_grad():
                answer = twin.logits(torch.from_numpy(x).to(twin.device)).cpu().numpy()
            gap = parity_gap(answer, model.batch_logits(x))
            if not gap <= PARITY:
                return None, f"its answers differ from ONNX Runtime's by {gap:.2g} of the largest, more than {PARITY}"
    except Exception as error:  # the converter raises whatever its operator functions raise
        return None, f"the graph does not convert: {type(error).__name__}: {error}"
    return twin, ""
