from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from explain.references import close
from inference import nets
from whyray.base.errors import TierMissing
from whyray.explain import explain
from whyray.inference import RuntimeOptions, converters, load_package
from whyray.inference.converters import CONVERTERS
from whyray.inference.gradient import Twin

CPU = RuntimeOptions(device="cpu", intra_op_threads=1)
FIRST, SECOND = CONVERTERS


@dataclass(frozen=True)
class Another:
    """A converter of a test's own."""

    name: str
    by_operator: bool
    convert: Callable[[Any], Any]


def _fails(proto: object) -> object:
    raise NotImplementedError("no such operator")


def _off_by_a_little(proto: object) -> object:
    class Off(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.right = FIRST.convert(proto)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.right(x) * 1.05

    return Off()


@pytest.fixture
def second_only(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("onnx2torch") is None:
        pytest.skip("onnx2torch is not installed (pip install --no-deps onnx2torch)")
    monkeypatch.setattr(converters, "CONVERTERS", (Another("onnx2fx", True, _fails), SECOND))


@pytest.mark.parametrize("name", ["plain-3d", "pool", "flatten"])
def test_where_the_first_converter_fails_the_second_gives_the_same_gradients(name: str, second_only: None) -> None:
    model, x = nets.loaded(name), nets.image(name).requires_grad_(True)
    assert model.gradients.twin("gradient").converter.name == "onnx2torch"
    (expected,) = torch.autograd.grad(nets.make(name)(x)[0, 1], x)
    heatmap = explain(model, x.detach().numpy(), target="two", method="gradient")
    close(heatmap.values, expected[0].abs().amax(dim=0).numpy())


def test_a_bundled_package_keeps_its_tier_and_its_maps_without_the_first_converter(second_only: None) -> None:
    model = load_package("cxr-findings@1", options=replace(CPU, cache=None))
    first = load_package("cxr-findings@1", options=replace(CPU, cache=None))
    assert model.gradients.measured_tier() == "T2", model.gradients.tier_reason
    assert model.gradients.twin("gradient").converter.name == "onnx2torch"
    noise = np.random.default_rng(0).normal(size=model.network.input_shape).cumsum(axis=-1).cumsum(axis=-2)
    x = (noise / noise.std()).astype(np.float32)
    expected = Twin(first.network, first.session, FIRST).gradients(x, [0, 3])[0]
    gradients = model.gradients.engine("gradient", 2).gradients(x, [0, 3])[0]
    # a unit within rounding of zero is on with one converter and off with the other: on some processors a few pixels
    # of this image see one, and of the next four images none
    apart = np.abs(gradients - expected) / np.abs(expected).max()
    assert np.quantile(apart, 0.999) <= 1e-4
    assert apart.max() <= 1e-2


def test_methods_that_replace_operators_refuse_a_twin_that_has_none_to_replace(second_only: None) -> None:
    model, x = nets.loaded("pool"), nets.image("pool").numpy()
    for method in ("lrp", "deep-lift", "guided-backprop"):
        with pytest.raises(TierMissing, match="whose operators no rule can replace"):
            explain(model, x, target="one", method=method)


def test_a_converter_that_answers_a_little_otherwise_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converters, "CONVERTERS", (Another("wrong", True, _off_by_a_little), FIRST))
    assert nets.loaded("plain").gradients.twin("gradient").converter is FIRST
    monkeypatch.setattr(converters, "CONVERTERS", (Another("wrong", True, _off_by_a_little),))
    model = nets.loaded("plain")
    with pytest.raises(TierMissing, match=r"wrong: .*differ from ONNX Runtime's by 0\.0"):
        model.gradients.twin("gradient")
    assert model.gradients.measured_tier() == "T1"


def test_a_converter_that_answers_a_little_otherwise_is_passed_over_for_a_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converters, "CONVERTERS", (Another("wrong", True, _off_by_a_little),))
    with pytest.raises(TierMissing, match="the head does not convert: wrong"):
        explain(nets.loaded("flatten"), nets.image("flatten").numpy(), target="one", method="grad-cam")


def test_a_converter_that_is_not_installed_is_passed_over_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converters, "CONVERTERS", (Another("onnx2fx", True, _fails), SECOND))
    monkeypatch.setattr(converters.importlib.util, "find_spec", lambda name: None)
    model = nets.loaded("plain")
    with pytest.raises(TierMissing, match=r"onnx2fx: .*no such operator; onnx2torch: .*it is not installed"):
        model.gradients.twin("gradient")


def test_the_second_converter_brings_no_torchvision(second_only: None, tmp_path: Path) -> None:
    import sys

    net = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
    before = {name for name in sys.modules if name.startswith("torchvision")}
    model = load_package(nets.pack(tmp_path, "plain", net), options=CPU)
    x = nets.image("plain").numpy()
    assert np.allclose(model.gradients.twin("gradient").answers(x), model.logits(x), atol=1e-5)
    assert {name for name in sys.modules if name.startswith("torchvision")} == before
