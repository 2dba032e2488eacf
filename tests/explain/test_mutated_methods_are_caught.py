"""A method that was changed for the worse makes the comparisons with its references fail: each pair is run here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from explain import test_black_box_methods_equal_their_references as black_box
from explain import test_cams_equal_pytorch_grad_cam as cams
from explain import test_gradient_methods_equal_their_references as gradients
from whyray.explain import Attribution, Case, method_named
from whyray.inference import Model
from whyray.inference.network import Network

Comparison = Callable[[], None]
COMPARISONS: dict[str, Comparison] = {
    "grad-cam": lambda: cams.test_gradient_cams_are_those_of_pytorch_grad_cam("plain", "grad-cam", "GradCAM", {}),
    "layer-cam": lambda: cams.test_gradient_cams_are_those_of_pytorch_grad_cam("residual", "layer-cam", "LayerCAM", {}),
    "hi-res-cam": lambda: cams.test_gradient_cams_are_those_of_pytorch_grad_cam("dense", "hi-res-cam", "HiResCAM", {}),
    "ablation-cam": lambda: cams.test_ablation_cam_is_that_of_pytorch_grad_cam_where_the_score_is_positive("residual"),
    "input-x-gradient": lambda: gradients.test_gradient_and_input_x_gradient_are_those_of_captum("plain"),
    "integrated-gradients": lambda: gradients.test_integrated_gradients_are_those_of_captum_at_the_same_steps("plain"),
    "deep-lift": lambda: gradients.test_deep_lift_is_that_of_captum("plain"),
    "guided-backprop": lambda: gradients.test_guided_backpropagation_is_that_of_captum_and_differs_from_the_gradient(
        "plain"
    ),
    "occlusion": lambda: black_box.test_occlusion_is_that_of_captum_to_a_border_that_cuts_windows(
        "plain", (8, 8), (4, 4)
    ),
    "rise": lambda: black_box.test_rise_is_the_published_estimator_on_the_same_masks("plain"),
}


def flipped(values: np.ndarray) -> np.ndarray:
    """The sign is wrong."""
    return -values


def transposed(values: np.ndarray) -> np.ndarray:
    """Rows and columns are exchanged."""
    return np.swapaxes(values, -1, -2)


def one_pixel_off(values: np.ndarray) -> np.ndarray:
    """Shifted by one pixel, as an upsampling with aligned corners would."""
    return np.roll(values, 1, axis=-1)


def mirrored(values: np.ndarray) -> np.ndarray:
    """Left is right."""
    return np.flip(values, axis=-1)


@pytest.mark.parametrize(
    "mutation", [flipped, transposed, one_pixel_off, mirrored], ids=lambda mutation: mutation.__name__
)
@pytest.mark.parametrize("method", COMPARISONS)
def test_a_map_that_is_changed_differs_from_the_reference(
    method: str, mutation: Callable[[np.ndarray], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    COMPARISONS[method]()
    kind = type(method_named(method))
    right = kind.attribute

    def wrong(self: Any, case: Case, parameters: Any) -> Sequence[Attribution]:
        return [
            replace(heatmap, values=np.ascontiguousarray(mutation(heatmap.values)))
            for heatmap in right(self, case, parameters)
        ]

    monkeypatch.setattr(kind, "attribute", wrong)
    with pytest.raises(AssertionError):
        COMPARISONS[method]()


@pytest.mark.parametrize("method", ["grad-cam", "layer-cam", "ablation-cam"])
def test_a_layer_too_early_differs_from_the_reference(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Network.__dict__["features_name"].func
    monkeypatch.setattr(
        Network, "features_name", property(lambda self: _before(self.graph, _before(self.graph, right(self))))
    )
    with pytest.raises(AssertionError):
        COMPARISONS[method]()


def _before(graph: Any, tensor: str | None) -> str | None:
    """The input of the operator that makes a tensor: one layer off."""
    assert tensor is not None
    node = graph.producer[tensor]
    earlier = [tensor for tensor in node.input if tensor in graph.producer and graph.constant(tensor) is None]
    return earlier[0] if earlier else tensor


def test_targets_that_are_exchanged_differ_from_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Model.target_index
    monkeypatch.setattr(Model, "target_index", lambda self, name: (right(self, name) + 1) % len(self.targets))
    with pytest.raises(AssertionError):
        COMPARISONS["input-x-gradient"]()
