"""A graph that turns, mirrors, crops or pads the image has maps that lie elsewhere: none is drawn over the image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from inference import nets
from whyray.base.errors import PackageError, TierMissing
from whyray.explain import explain
from whyray.inference import Model, RuntimeOptions, load_package
from whyray.onboarding import check_package

CPU = RuntimeOptions(device="cpu", intra_op_threads=1)
SIZE = 32

Preparation = Callable[[Tensor], Tensor]
ELSEWHERE: dict[str, Preparation] = {
    "mirrored": lambda x: torch.flip(x, (3,)),
    "upside down": lambda x: torch.flip(x, (2,)),
    "columns first": lambda x: x.transpose(2, 3),
    "cropped": lambda x: x[:, :, 8:24, 8:24],
    "cropped to a corner": lambda x: x[:, :, :24, :24],
    "padded on one side": lambda x: functional.pad(x, (16, 0, 16, 0)),
    "rolled": lambda x: torch.roll(x, (16,), (3,)),
}
IN_PLACE: dict[str, Preparation] = {
    "as it is": lambda x: x,
    "made smaller": lambda x: functional.interpolate(x, size=(16, 16), mode="bilinear", align_corners=False),
    "mirrored and back": lambda x: torch.flip(torch.flip(x, (3,)), (3,)),
    "cropped by a pixel": lambda x: x[:, :, 1:31, 1:31],
}


class Spot(nn.Module):
    """Its first target rises with what is bright, after the image was prepared in the graph."""

    def __init__(self, prepare: Preparation) -> None:
        super().__init__()
        self.prepare = prepare
        self.conv, self.linear = nn.Conv2d(1, 2, 3, padding=1), nn.Linear(2, 3)
        with torch.no_grad():
            self.conv.weight.fill_(1 / 9)
            self.conv.bias.copy_(torch.tensor([-0.6, -0.3]))
            self.linear.weight.copy_(torch.tensor([[400.0, 0], [-400.0, 0], [0, 1]]))

    def forward(self, x: Tensor) -> Tensor:
        features = functional.avg_pool2d(torch.relu(self.conv(self.prepare(x))), 2)
        return self.linear(features.mean((2, 3)))


def _loaded(tmp_path: Path, prepare: Preparation, **changes: object) -> Model:
    return load_package(nets.pack(tmp_path, "plain", Spot(prepare).eval(), **changes), options=CPU)


@pytest.mark.parametrize("prepared", ELSEWHERE)
def test_no_map_is_made_of_features_that_lie_elsewhere(tmp_path: Path, prepared: str) -> None:
    model = _loaded(tmp_path, ELSEWHERE[prepared])
    x = np.random.default_rng(0).random((1, 1, SIZE, SIZE)).astype(np.float32)
    with pytest.raises(TierMissing, match="grad-cam needs feature maps"):
        explain(model, x, target="one", method="grad-cam")
    reason = model.network.features.reason
    assert "otherwise than the image" in reason or "no tensor before the answer" in reason


@pytest.mark.parametrize("prepared", IN_PLACE)
def test_features_that_lie_over_the_image_are_shown_where_the_evidence_is(tmp_path: Path, prepared: str) -> None:
    model = _loaded(tmp_path, IN_PLACE[prepared])
    x = np.full((1, 1, SIZE, SIZE), 0.2, np.float32)
    x[0, 0, 4:10, 20:28] = 1
    heatmap = explain(model, x, target="one", method="grad-cam")
    assert heatmap.values[..., 2:12, 18:30].sum() > 0.9 * heatmap.values.sum()


@pytest.mark.parametrize("name", ["swin", "unet-3d", "pool"])
def test_windows_of_attention_and_strides_are_in_place(name: str) -> None:
    assert nets.loaded(name).network.features_name is not None


def test_features_that_the_manifest_names_are_refused_where_they_lie_elsewhere(tmp_path: Path) -> None:
    folder = nets.pack(tmp_path, "plain", Spot(ELSEWHERE["mirrored"]).eval())
    graph = load_package(folder, options=CPU).network.graph
    name = next(node.output[0] for node in graph.proto.graph.node if node.op_type == "AveragePool")
    nets.write_manifest(folder, nets.manifest("plain", output__features=name))
    with pytest.raises(PackageError, match=r"output\.features says .* otherwise than the image") as refused:
        _ = load_package(folder, options=CPU).network
    assert "Leave output.features out" in refused.value.advice


class Terms(nn.Module):
    """Its answer is the sum of terms, which it may give mirrored."""

    def __init__(self, mirrored: bool) -> None:
        super().__init__()
        self.mirrored = mirrored
        self.conv = nn.Conv2d(1, 3, 4, stride=4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        terms = self.conv(torch.flip(x, (3,)) if self.mirrored else x)
        return terms.sum((2, 3)), terms


@pytest.mark.parametrize("mirrored", [False, True])
def test_terms_of_the_answer_that_lie_elsewhere_are_refused(tmp_path: Path, mirrored: bool) -> None:
    folder = nets.write_manifest(
        tmp_path / "plain" / "1.0.0", nets.manifest("plain", evidence={"output": "terms", "bias": [0.0, 0.0, 0.0]})
    )
    torch.manual_seed(0)
    names = {"input_names": ["x"], "output_names": ["logits", "terms"]}
    axes = {name: {0: "batch"} for name in ("x", "logits", "terms")}
    x = torch.zeros(1, 1, SIZE, SIZE)
    torch.onnx.export(Terms(mirrored).eval(), (x,), folder / "model.onnx", dynamo=False, dynamic_axes=axes, **names)
    errors = [finding.message for finding in check_package(folder) if finding.severity == "error"]
    assert mirrored == any("lie otherwise than the image" in message for message in errors), errors


class Segments(nn.Module):
    """The second segment is what is bright, after the image was prepared in the graph."""

    def __init__(self, prepare: Preparation, window: int = 3, stride: int = 1, padding: int = 1) -> None:
        super().__init__()
        self.prepare = prepare
        self.conv = nn.Conv2d(1, 3, window, stride=stride, padding=padding)
        with torch.no_grad():
            self.conv.weight.zero_()
            self.conv.weight[1].fill_(100 / window**2)
            self.conv.bias.copy_(torch.tensor([0, -60.0, -100]))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.prepare(x))


def _errors(folder: Path) -> list[str]:
    return [finding.message for finding in check_package(folder) if finding.severity == "error"]


@pytest.mark.parametrize("prepared", ["mirrored", "upside down", "columns first", "rolled"])
def test_segments_that_lie_elsewhere_are_refused(tmp_path: Path, prepared: str) -> None:
    folder = nets.pack(tmp_path, "unet", Segments(ELSEWHERE[prepared]).eval())
    assert any("otherwise than the image" in message for message in _errors(folder)), _errors(folder)
    with pytest.raises(PackageError, match="otherwise than the image"):
        _ = load_package(folder, options=CPU).network


@pytest.mark.parametrize("prepared", ["as it is", "mirrored and back"])
def test_segments_that_lie_over_the_image_are_not(tmp_path: Path, prepared: str) -> None:
    assert not _errors(nets.pack(tmp_path, "unet", Segments(IN_PLACE[prepared]).eval()))


@pytest.mark.parametrize(("window", "stride", "grid"), [(4, 4, "8 × 8"), (9, 1, "26 × 26")])
def test_the_check_refuses_segments_on_another_grid_than_the_image(
    tmp_path: Path, window: int, stride: int, grid: str
) -> None:
    net = Segments(IN_PLACE["as it is"], window, stride, padding=1 if stride == 1 else 0).eval()
    (message,) = _errors(nets.pack(tmp_path, "unet", net))
    assert f"on the image's grid of 32 × 32, found {grid}" in message
