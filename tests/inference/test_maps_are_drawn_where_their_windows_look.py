"""A cell of a map is drawn at the middle of the window that it looks at, whatever paddings and strides do to it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from inference import nets
from whyray.explain import Heatmap, explain, heatmaps
from whyray.explain.grid import upsample, upsample_sum
from whyray.inference import AxisPlacement, MapPlacement, Model, RuntimeOptions, axis_taps, load_package
from whyray.inference.network import Network
from whyray.onboarding import check_package

CPU = RuntimeOptions(device="cpu", intra_op_threads=1, cache=None)
SIZE = 32
BARE = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def windows(draw: st.DrawFn) -> tuple[str, int, int, tuple[int, int], tuple[int, int]]:
    """Kind, kernel, stride, and paddings before and behind along columns and along rows."""
    kernel = draw(st.integers(1, 5))
    pad = st.integers(0, kernel // 2)
    kind = draw(st.sampled_from(["conv", "average", "max"]))
    return kind, kernel, draw(st.integers(1, 2)), draw(st.tuples(pad, pad)), draw(st.tuples(pad, pad))


class Windows(nn.Module):
    """A stack of windows whose every weight is positive; its first target is the mean of what they see."""

    def __init__(self, layers: list[tuple[str, int, int, tuple[int, int], tuple[int, int]]]) -> None:
        super().__init__()
        self.layers = layers
        self.mixed, self.linear = nn.Conv2d(1, 2, 1), nn.Linear(2, 3)
        with torch.no_grad():
            self.mixed.weight.fill_(1.0)
            self.mixed.bias.zero_()
            self.linear.weight.copy_(torch.tensor([[100.0, 0], [-100.0, 0], [0, 1]]))

    def features(self, x: Tensor, pool: bool = True) -> Tensor:
        """(N, 2, *grid); without `pool` maxima are means, which look at the same places and can be differentiated."""
        for kind, kernel, stride, columns, rows in self.layers:
            x = functional.pad(x, (*columns, *rows))
            if kind == "conv":
                x = functional.conv2d(x, torch.full((1, 1, kernel, kernel), 1 / kernel**2), stride=stride)
            elif kind == "max" and pool:
                x = functional.max_pool2d(x, kernel, stride)
            else:
                x = functional.avg_pool2d(x, kernel, stride)
        return torch.relu(self.mixed(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.features(x).mean((2, 3)))


def _looked_at(net: Windows, cell: tuple[int, int]) -> tuple[np.ndarray, tuple[float, float]]:
    """What one cell looks at, and its middle along both axes, in pixels: by the gradient."""
    x = torch.zeros(1, 1, SIZE, SIZE, requires_grad=True)
    net.features(x + 1, pool=False)[0, 0][cell].backward()
    assert x.grad is not None
    seen = x.grad[0, 0].numpy().astype(float)
    middles = [
        float((seen.sum(axis=1 - axis) * (np.arange(SIZE) + 0.5)).sum() / max(seen.sum(), 1e-12)) for axis in (0, 1)
    ]
    return seen, (middles[0], middles[1])


@BARE
@given(layers=st.lists(windows(), min_size=1, max_size=3))
@example(layers=[("conv", 1, 1, (0, 0), (0, 0)), ("conv", 1, 2, (0, 0), (0, 0)), ("conv", 2, 1, (0, 1), (0, 1))])
def test_a_cell_lies_where_the_gradient_says_that_it_looks(
    layers: list[tuple[str, int, int, tuple[int, int], tuple[int, int]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    net = Windows(layers).eval()
    assume(min(net.features(torch.zeros(1, 1, SIZE, SIZE)).shape[2:]) >= 4)
    model = load_package(nets.pack(tmp_path_factory.mktemp("net"), "plain", net), options=CPU)
    name = model.network.features_name
    assume(name is not None)
    assert name is not None
    lies, grid = model.network.placement(name), model.network.graph.shapes[name][2:]
    compared = 0
    for cell in np.ndindex(*(int(size or 0) for size in grid)):
        seen, middles = _looked_at(net, (int(cell[0]), int(cell[1])))
        if seen.sum() < 1 - 1e-4:
            continue  # a part of what it looks at is padding, which with strides lies beside pixels that nobody sees
        for axis in (0, 1):
            assert lies.centre(axis, cell[axis], int(grid[axis] or 0)) * SIZE == pytest.approx(middles[axis], abs=1e-3)
        compared += 1
    assume(compared)


class Strided(nn.Module):
    """Three halvings by strided 3 × 3 windows, padded at `sides`: its map is half a cell off edge to edge."""

    def __init__(self, sides: tuple[int, int]) -> None:
        super().__init__()
        self.sides = sides
        self.last, self.linear = nn.Conv2d(1, 2, 1), nn.Linear(2, 3)
        with torch.no_grad():
            self.last.weight.fill_(1.0)
            self.last.bias.fill_(-0.3)
            self.linear.weight.copy_(torch.tensor([[100.0, 0], [-100.0, 0], [0, 1]]))

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = functional.pad(x, self.sides * 2)
            x = functional.conv2d(x, torch.full((1, 1, 3, 3), 1 / 9), stride=2)
        return self.linear(torch.relu(self.last(x)).mean((2, 3)))


def _pack(tmp_path: Path, net: nn.Module, size: int) -> Model:
    folder = nets.write_manifest(tmp_path / "plain" / "1.0.0", nets.manifest("plain", input__shape=[size, size]))
    names = {"input_names": ["x"], "output_names": ["logits"]}
    axes = {name: {0: "batch"} for name in ("x", "logits")}
    x = torch.zeros(2, 1, size, size)
    torch.onnx.export(net.eval(), (x,), folder / "model.onnx", dynamo=False, dynamic_axes=axes, **names)
    return load_package(folder, options=CPU)


def _middle(heatmap: Heatmap) -> tuple[float, float]:
    """The middle of a map's mass, in pixels along rows and columns."""
    values = heatmap.values.astype(float)
    along = [values.sum(axis=1 - axis) for axis in (0, 1)]
    rows, columns = (float((line * (np.arange(len(line)) + 0.5)).sum() / line.sum()) for line in along)
    return rows, columns


METHODS = ["grad-cam", "hi-res-cam", "layer-cam", "grad-cam-plus-plus", "eigen-cam", "score-cam", "ablation-cam"]


@pytest.mark.parametrize("sides", [(1, 1), (0, 1), (1, 0)])
@pytest.mark.parametrize("method", METHODS)
def test_the_evidence_of_a_planted_square_lies_at_the_square(
    method: str, sides: tuple[int, int], planted: dict[tuple[int, int], Model]
) -> None:
    model, size = planted[sides], 96
    off = []
    for place in (28, 33, 38, 43, 48, 53, 58):
        x = np.zeros((1, 1, size, size), np.float32)
        x[0, 0, place - 6 : place + 6, size - place - 6 : size - place + 6] = 1
        middle = _middle(explain(model, x, target="one", method=method))
        off.append([middle[0] - place, middle[1] - (size - place)])
    # half a cell is 4 pixels; what is left of a single place is the grid's coarseness, and goes out in the mean
    assert np.abs(off).max() < 4
    assert np.abs(np.mean(off, axis=0)).max() < 1


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], Model]:
    folder = tmp_path_factory.mktemp("planted")
    return {sides: _pack(folder / "-".join(map(str, sides)), Strided(sides), 96) for sides in ((1, 1), (0, 1), (1, 0))}


def test_maps_beside_the_answer_and_on_their_own_are_the_same(planted: dict[tuple[int, int], Model]) -> None:
    model = planted[0, 1]
    x = np.random.default_rng(0).random((1, 1, 96, 96), np.float32)
    (own,) = heatmaps(model, x, target=["one"], method="grad-cam")
    (beside,) = heatmaps(model, x, target=["one"], method="hi-res-cam")
    assert model.session.run(x).grad_cams
    np.testing.assert_allclose(own.values, beside.values, atol=1e-5 * beside.values.max())


@given(
    cells=st.integers(1, 9),
    size=st.integers(9, 40),
    first=st.floats(-0.4, 0.4),
    step=st.floats(0.02, 0.5),
)
@settings(max_examples=200, deadline=None)
def test_a_sum_stays_wherever_the_cells_lie(cells: int, size: int, first: float, step: float) -> None:
    lies = MapPlacement((AxisPlacement(first, step), None))
    assume(any(0 < lies.centre(0, cell, cells) < 1 for cell in range(cells)))
    values = np.random.default_rng(0).normal(size=(cells, 4)).astype(np.float32)
    drawn = upsample_sum(values, (size, 8), lies)
    np.testing.assert_allclose(drawn.sum(axis=0).reshape(4, 2).sum(), values.sum(), atol=1e-3)


placements = st.builds(AxisPlacement, st.floats(-0.4, 0.4), st.floats(0.05, 0.5))


@given(
    cells=st.integers(1, 9), size=st.integers(20, 40), lies=st.none() | placements, value=st.sampled_from([3.0, -2.0])
)
@settings(max_examples=200, deadline=None)
def test_equal_terms_are_an_even_map_wherever_the_cells_lie(
    cells: int, size: int, lies: AxisPlacement | None, value: float
) -> None:
    drawn = upsample_sum(np.full((cells, 2), value, np.float32), (size, 8), MapPlacement((lies, None)))
    np.testing.assert_allclose(drawn, np.full((size, 8), value * cells * 2 / (size * 8)), rtol=1e-4)


@given(first=st.floats(-0.08, 0.08), largest=st.integers(0, 6), seed=st.integers(0, 1000), below=st.booleans())
@settings(max_examples=200, deadline=None)
def test_the_largest_term_keeps_the_maximum_wherever_the_cells_lie(
    first: float, largest: int, seed: int, below: bool
) -> None:
    lies = MapPlacement((AxisPlacement(first, 1 / 7),))
    values = np.random.default_rng(seed).uniform(-0.7 if below else 0, 0.7, 7).astype(np.float32)
    values[largest] = 1
    peak = (int(upsample_sum(values, (224,), lies).argmax()) + 0.5) / 224
    assert abs(peak - np.clip(lies.centre(0, largest, 7), 0, 1)) < 0.5 / 7 + abs(first)


def test_a_sum_stays_where_terms_cancel_and_each_map_of_several_keeps_its_own() -> None:
    lies = MapPlacement((AxisPlacement(-0.5 / 7, 1 / 7), AxisPlacement(0.5 / 7, 1 / 7)))
    values = np.random.default_rng(3).normal(size=(4, 7, 7)).astype(np.float32)
    values -= values.mean(axis=(1, 2), keepdims=True)
    values[0, 0, 0] += 5
    drawn = upsample_sum(values, (224, 224), lies)
    np.testing.assert_allclose(drawn.sum(axis=(1, 2), dtype=np.float64), values.sum(axis=(1, 2)), atol=1e-3)
    assert np.abs(drawn).max() * 1024 < 2 * np.abs(values).max()


@given(cells=st.integers(2, 9), first=st.floats(-0.2, 0.2), step=st.floats(0.05, 0.3))
@settings(max_examples=200, deadline=None)
def test_beyond_the_outermost_cells_the_nearest_is_shown(cells: int, first: float, step: float) -> None:
    lies, size = MapPlacement((AxisPlacement(first, step),)), 64
    values = np.arange(1, cells + 1, dtype=np.float32)
    drawn = upsample(values, (size,), lies)
    middles = (np.arange(size) + 0.5) / size
    expected = np.interp(middles, [lies.centre(0, cell, cells) for cell in range(cells)], values)
    np.testing.assert_allclose(drawn, expected, atol=1e-4)
    assert all(one <= other for one, other in pairwise(drawn))


@pytest.mark.parametrize(("kind", "told"), [("swin", False), ("residual", True)])
def test_the_check_says_where_the_place_of_maps_is_not_told(kind: str, told: bool) -> None:
    warnings = [finding.message for finding in check_package(nets.packed(kind)) if finding.severity == "warning"]
    assert told != any("can't be told from its operators" in words for words in warnings), warnings


def test_the_check_says_where_ways_through_the_graph_lay_maps_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    said = []
    for apart in (0.1, 0.4375):
        monkeypatch.setattr(Network, "placement", lambda *_, apart=apart: MapPlacement((None, None), apart=apart))
        warnings = [finding for finding in check_package(nets.packed("residual")) if finding.severity == "warning"]
        said.append([finding.message for finding in warnings if "cells apart" in finding.message])
    assert said[0] == []
    assert "up to 0.44 cells apart" in said[1][0]


def test_what_is_kept_of_an_axis_can_not_be_written_to() -> None:
    assert not any(kept.flags.writeable for kept in axis_taps(7, 224, AxisPlacement(0.1, 0.1)))
