"""Class activation maps against pytorch-grad-cam 1.5.7, before its normalisation; tolerance 1e-4 of the maximum."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from explain.references import close, reference, upsampled
from inference import nets
from whyray.explain import explain, explained_image
from whyray.explain.eigen_cam import first_component
from whyray.inference import Model

TARGETS = ("one", "two", "three")
LIES = {
    **dict.fromkeys(("plain", "plain-3d", "rgb", "residual", "dense"), (-0.5, 2.0)),
    "flatten": (-1.5, 4.0),
}
"""Where the cells of the last maps lie: a 3 × 3 window of stride 2 with a padding of 1 has its middle on every second
pixel, which is half a pixel before the middle of two. First edge and length of a cell, in pixels."""
CLASSES = ["plain", "rgb", "flatten", "residual", "dense"]


def theirs(class_name: str, name: str, target: int, **options: object) -> np.ndarray:
    """Their map at the features' grid, ReLU applied, not normalised."""
    package = reference("pytorch_grad_cam")
    targets = [reference("pytorch_grad_cam.utils.model_targets").ClassifierOutputTarget(target)]
    net, x = nets.make(name), nets.image(name)
    taken: list[np.ndarray] = []
    hook = net.last.register_forward_hook(lambda module, given, answer: taken.append(answer.detach().numpy()))
    net(x)
    hook.remove()
    cam = getattr(package, class_name)(net, [net.last], **options)
    cam(x, targets=targets)
    taps = cam.activations_and_grads
    grads = taps.gradients[-1].numpy() if taps.gradients else None
    values = cam.get_cam_image(x, net.last, targets, taken[0], grads, False)
    return np.asarray(values[0])


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize(
    ("method", "class_name", "parameters"),
    [
        ("grad-cam", "GradCAM", {}),
        ("grad-cam-plus-plus", "GradCAMPlusPlus", {"epsilon": 1e-6}),
        ("layer-cam", "LayerCAM", {}),
        ("hi-res-cam", "HiResCAM", {}),
    ],
)
def test_gradient_cams_are_those_of_pytorch_grad_cam(
    name: str, method: str, class_name: str, parameters: dict[str, float]
) -> None:
    model, x = nets.loaded(name), nets.image(name).numpy()
    maps = explain(model, x, target="all", method=method, **parameters)
    compared = 0
    for number, heatmap in enumerate(maps):
        expected = np.maximum(theirs(class_name, name, number), 0)
        if expected.max() > 0:
            close(heatmap.values, upsampled(expected, heatmap.values.shape, *LIES[name]))
            compared += 1
        else:
            assert not heatmap.values.any()
    assert compared


def test_grad_cam_in_three_dimensions_is_that_of_pytorch_grad_cam() -> None:
    name = "plain-3d"
    heatmaps = explain(nets.loaded(name), nets.image(name).numpy(), target="all", method="grad-cam")
    for number, heatmap in enumerate(heatmaps):
        expected = upsampled(np.maximum(theirs("GradCAM", name, number), 0), heatmap.values.shape, *LIES[name])
        close(heatmap.values, expected)


@pytest.mark.parametrize("method", ["grad-cam", "layer-cam", "hi-res-cam"])
def test_maps_of_tokens_whose_channels_come_last_are_those_of_pytorch_grad_cam_told_so(method: str) -> None:
    class_name = {"grad-cam": "GradCAM", "layer-cam": "LayerCAM", "hi-res-cam": "HiResCAM"}[method]
    package = reference("pytorch_grad_cam")
    net, x, model = nets.make("swin"), nets.image("swin"), nets.loaded("swin")
    features = model.session.run(x.numpy()).features
    assert features is not None
    assert features.shape == (1, 12, 4, 4)
    maps = explain(model, x.numpy(), target="all", method=method)
    for number, heatmap in enumerate(maps):
        targets = [reference("pytorch_grad_cam.utils.model_targets").ClassifierOutputTarget(number)]
        cam = getattr(package, class_name)(net, [net.norm], reshape_transform=lambda tokens: tokens.permute(0, 3, 1, 2))
        cam(x, targets=targets)
        taps = cam.activations_and_grads
        taken, grads = taps.activations[-1].numpy(), taps.gradients[-1].numpy()
        expected = np.maximum(cam.get_cam_image(x, net.norm, targets, taken, grads, False)[0], 0)
        if expected.max() > 0:
            close(heatmap.values, upsampled(expected, heatmap.values.shape))
        else:
            assert not heatmap.values.any()


@pytest.mark.parametrize("name", ["plain", "flatten", "dense"])
def test_eigen_cam_is_that_of_pytorch_grad_cam_up_to_its_arbitrary_sign(name: str) -> None:
    model, x = nets.loaded(name), nets.image(name).numpy()
    features = model.session.run(x).features
    assert features is not None
    component = first_component(features[0], centre=True)
    expected = theirs("EigenCAM", name, 0)
    close(component * np.sign((component * expected).sum()), expected, 1e-3)


@pytest.mark.parametrize("name", ["plain", "flatten", "residual"])
def test_score_cam_is_that_of_pytorch_grad_cam_with_the_same_upsampling(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Theirs upsamples masks with align_corners=True, whose grid is not the feature maps'; all else is theirs.
    class Placed(torch.nn.Module):
        def __init__(self, size: torch.Size) -> None:
            super().__init__()
            self.size = tuple(size)

        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            drawn = [upsampled(feature_map, self.size, *LIES[name]) for feature_map in maps.flatten(0, -3).numpy()]
            return torch.tensor(np.stack(drawn), dtype=maps.dtype).reshape(*maps.shape[:-2], *self.size)

    monkeypatch.setattr(torch.nn, "UpsamplingBilinear2d", Placed)
    heatmaps = explain(nets.loaded(name), nets.image(name).numpy(), target="all", method="score-cam")
    for number, heatmap in enumerate(heatmaps):
        expected = np.maximum(theirs("ScoreCAM", name, number), 0)
        close(heatmap.values, upsampled(expected, heatmap.values.shape, *LIES[name]))


@pytest.mark.parametrize("name", ["flatten", "residual", "dense"])
def test_ablation_cam_is_that_of_pytorch_grad_cam_where_the_score_is_positive(name: str) -> None:
    model, x = nets.loaded(name), nets.image(name).numpy()
    logits = model.logits(x)[0]
    number = int(logits.argmax())
    assert logits[number] > 0
    heatmap = explain(model, x, target=TARGETS[number], method="ablation-cam")
    expected = np.maximum(theirs("AblationCAM", name, number), 0)
    close(heatmap.values, upsampled(expected, heatmap.values.shape, *LIES[name]), 1e-3)


@pytest.mark.parametrize("name", ["unet", "unet-3d"])
def test_seg_grad_cam_is_the_gradient_of_the_mean_logit_over_the_predicted_segment(name: str) -> None:
    net, x = nets.make(name), nets.image(name)
    taken: list[torch.Tensor] = []
    net.last.register_forward_hook(lambda module, given, answer: taken.append(answer))
    logits = net(x)
    regions = logits.argmax(dim=1)[0]
    for heatmap in explain(nets.loaded(name), x.numpy(), target="all", method="seg-grad-cam"):
        target = TARGETS.index(heatmap.target)
        score = logits[0, target][regions == target].mean()
        (gradient,) = torch.autograd.grad(score, taken[0], retain_graph=True)
        weights = gradient[0].flatten(1).mean(dim=1)
        expected = torch.relu(torch.tensordot(weights, taken[0][0], dims=1)).detach().numpy()
        close(heatmap.values, expected)


def test_all_targets_cost_one_forward_pass_and_the_second_method_none() -> None:
    model: Model = nets.loaded("plain")
    image = explained_image(model, nets.image("plain").numpy())
    explain(model, image, target="all", method="grad-cam")
    assert model.session.forwards == 1
    explain(model, image, target="all", method="layer-cam")
    assert model.session.forwards == 1
