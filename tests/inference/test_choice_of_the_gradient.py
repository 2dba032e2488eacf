"""Which engine gives a gradient hangs on the graph alone: torch's last bits are others, and so would be the results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as state

from inference import nets
from planted_counterfactuals import linear_pair
from whyray.base.errors import EngineFailed, PackageError, ResourceExhausted, RetriableError, TierMissing
from whyray.inference import (
    Autoencoder,
    Model,
    RuntimeOptions,
    Twin,
    differentiation,
    gradient,
    gradient_proof,
    load_package,
)
from whyray.inference import differentiated as module
from whyray.inference.differentiated import DifferentiatedEngine
from whyray.inference.gradient_proof import MARGIN, TOLERANCE, UndecidedProof
from whyray.inference.gradient_session import GradientSession

OPTIONS = RuntimeOptions(device="cpu", intra_op_threads=1, cache=None)


def fresh() -> Model:
    return load_package(nets.packed("plain"), options=OPTIONS)


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


def not_loaded(cause: Exception) -> PackageError:
    error = PackageError("the graph does not load")
    error.__cause__ = cause
    return error


PASSING = [
    (RuntimeError("CUDA error 719"), EngineFailed),
    (state.RuntimeException("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : bad allocation"), ResourceExhausted),
    (state.Fail("CUDA failure 700"), EngineFailed),
    (not_loaded(state.Fail("CUDA failure 700")), EngineFailed),
    (MemoryError(), MemoryError),
]


@pytest.mark.parametrize(("error", "raised"), PASSING)
@pytest.mark.parametrize("where", ["__init__", "__call__"])
def test_what_fails_on_one_machine_once_is_raised_and_the_next_try_has_the_same_engine(
    monkeypatch: pytest.MonkeyPatch, where: str, error: Exception, raised: type[Exception]
) -> None:
    model = fresh()
    with monkeypatch.context() as patch:
        patch.setattr(GradientSession, where, raising(error))
        with pytest.raises(raised) as caught:
            model.gradients.for_descent("test")
    assert isinstance(caught.value, (MemoryError, RetriableError))
    assert isinstance(model.gradients.for_descent("test"), DifferentiatedEngine)


@pytest.mark.parametrize(("error", "raised"), PASSING)
def test_so_it_is_with_a_decoder(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, raised: type[Exception]
) -> None:
    folder = linear_pair(tmp_path).folder.parents[1] / "planted-autoencoder" / "1.0.0"
    autoencoder = Autoencoder(load_package(folder, options=OPTIONS))
    latents, weights = np.ones((1, 6), np.float32), np.ones((1, 16, 16), np.float32)
    with monkeypatch.context() as patch:
        patch.setattr(GradientSession, "__init__", raising(error))
        with pytest.raises(raised):
            autoencoder.pullback(latents, weights)
    assert autoencoder.pullback(latents, weights).any()
    assert autoencoder._differentiated_decoder is not None
    assert Autoencoder(autoencoder.model)._differentiated_decoder is autoencoder._differentiated_decoder


@pytest.mark.parametrize(
    "error",
    [
        state.InvalidArgument("Got invalid dimensions for input: weights"),
        not_loaded(state.NotImplemented("Could not find an implementation for Resize(18)")),
        not_loaded(state.Fail("Node (back/3) Op (Mul) [ShapeInferenceError] Incompatible dimensions")),
    ],
)
@pytest.mark.parametrize("where", ["__init__", "__call__"])
def test_what_onnx_runtime_refuses_everywhere_is_left_to_torch(
    monkeypatch: pytest.MonkeyPatch, where: str, error: Exception
) -> None:
    monkeypatch.setattr(GradientSession, where, raising(error))
    assert isinstance(fresh().gradients.for_descent("test"), Twin)


@pytest.mark.parametrize("error", [TypeError("None"), KeyError("axis"), IndexError("2"), ZeroDivisionError()])
def test_what_a_rule_stumbles_over_is_left_to_torch(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setitem(differentiation._RULES, "Relu", raising(error))
    assert isinstance(fresh().gradients.for_descent("test"), Twin)


@pytest.mark.parametrize("gap", [TOLERANCE * (1 - 0.9 * MARGIN), TOLERANCE * (1 + 0.9 * MARGIN)])
def test_a_proof_that_another_machine_may_decide_otherwise_chooses_no_engine(
    monkeypatch: pytest.MonkeyPatch, gap: float
) -> None:
    monkeypatch.setattr(gradient_proof, "_gap", lambda *_: gap)
    with pytest.raises(UndecidedProof, match="on every machine"):
        fresh().gradients.for_descent("test")


@pytest.mark.parametrize("gap", [0.7e-3, 1.5e-3])
def test_answers_that_another_machine_may_find_equal_choose_no_engine(
    monkeypatch: pytest.MonkeyPatch, gap: float
) -> None:
    monkeypatch.setattr(module, "parity_gap", lambda *_: gap)
    with pytest.raises(UndecidedProof, match="on every machine"):
        fresh().gradients.for_descent("test")


def changed(model: Model) -> Model:
    """The same network with other weights."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.network.graph.proto)
    for initializer in proto.graph.initializer:
        value = numpy_helper.to_array(initializer)
        if value.dtype == np.float32:
            initializer.CopyFrom(numpy_helper.from_array(-value, initializer.name))
    return model.with_graph(proto)


@pytest.mark.parametrize("first", ["the original", "the changed one"])
def test_a_changed_network_takes_the_engine_that_the_original_takes(
    monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """Its gradient is made by the same rules, and of the original they were proven, or not."""
    assert isinstance(changed(fresh()).gradients.for_descent("test"), DifferentiatedEngine)
    right = GradientSession.__call__

    def halved(self: GradientSession, x: Any, weights: Any) -> Any:
        answer, gradients = right(self, x, weights)
        return answer, gradients / 2

    monkeypatch.setattr(GradientSession, "__call__", halved)
    model = fresh()
    if first == "the original":
        assert isinstance(model.gradients.for_descent("test"), Twin)
    for other in (changed(model), changed(changed(model))):
        assert isinstance(other.gradients.for_descent("test"), Twin)
    assert isinstance(model.gradients.for_descent("test"), Twin)


def test_a_converter_that_was_not_believed_of_the_original_is_not_of_a_changed_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = fresh()
    monkeypatch.setattr(gradient, "unproven", lambda *_: "its gradients are others")
    for either in (model, changed(model)):
        with pytest.raises(TierMissing, match="others"):
            either.gradients.twin("test")
