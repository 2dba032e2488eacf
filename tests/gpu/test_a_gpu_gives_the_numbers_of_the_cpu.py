"""Run by `pytest -m gpu` where ONNX Runtime and torch both have CUDA; skipped by name elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnxruntime
import pytest
import torch

from explain.references import close
from inference import nets
from whyray.explain import explain
from whyray.inference import Model, RuntimeOptions, load_package
from whyray.inference.memory import memory_budget
from whyray.inference.session import open_session, run_bound
from whyray.onboarding import onboard
from whyray.onboarding.batch_measuring import measure_batches
from whyray.onboarding.gradient_comparison import compare_gradients

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        "CUDAExecutionProvider" not in onnxruntime.get_available_providers() or not torch.cuda.is_available(),
        reason="needs a CUDA device, onnxruntime-gpu and a CUDA build of torch",
    ),
]
LIMIT = 2 << 30
METHODS = (
    *("grad-cam", "layer-cam", "score-cam", "ablation-cam", "occlusion", "rise"),
    *("gradient", "input-x-gradient", "integrated-gradients", "deep-lift"),
)


def on_gpu(name: str) -> Model:
    options = RuntimeOptions(device="cuda", gpu_memory_limit=LIMIT)
    return load_package(nets.packed(name), options=options)


@pytest.mark.parametrize("name", ["plain", "dense", "residual-3d", "unet", "vit", "swin"])
def test_answers_are_those_of_the_cpu(name: str) -> None:
    model, x = on_gpu(name), nets.image(name).numpy()
    assert model.session.providers[0] == "CUDAExecutionProvider"
    close(model.logits(x), nets.loaded(name).logits(x), 1e-3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["dense", "residual"])
def test_explanations_are_those_of_the_cpu(name: str, method: str) -> None:
    parameters = {"rise": {"masks": 64}, "occlusion": {"window": 8, "stride": 8}}.get(method, {})
    x = nets.image(name).numpy()
    found = explain(on_gpu(name), x, target="two", method=method, **parameters)
    close(found.values, explain(nets.loaded(name), x, target="two", method=method, **parameters).values, 1e-2)


@pytest.mark.parametrize("name", ["plain", "unet", "plain-3d", "unet-3d"])
def test_grad_cam_comes_with_the_answer_there_too(name: str) -> None:
    x, expected = nets.image(name).numpy(), nets.loaded(name).session.run(nets.image(name).numpy()).grad_cams
    found = on_gpu(name).session.run(x).grad_cams
    assert found.keys() == expected.keys() != set()
    for target, each in found.items():
        assert abs(each - expected[target]).max() <= 1e-2 * max(abs(one).max() for one in expected.values())


def test_twin_and_graph_are_on_the_same_device_and_the_twin_is_verified_there() -> None:
    twin = on_gpu("dense").gradients.twin("gradient")
    assert twin.device == "cuda"
    assert all(each.is_cuda for each in twin.module.state_dict().values())


def test_bound_inputs_and_outputs_give_the_numbers_of_a_plain_run() -> None:
    model, x = on_gpu("dense"), nets.image("dense").numpy()
    session = open_session(model.network.graph.with_outputs(["logits"]), model.options, name="bound")
    expected = session.run(["logits"], {"x": x})[0]
    close(run_bound(session, ["logits"], {"x": x}, "cuda")[0], expected, 1e-5)


def test_compiled_gradients_are_those_of_the_twin() -> None:
    model, x = on_gpu("dense"), nets.image("dense").numpy()
    close(
        model.gradients.compiled().gradients(x, [0, 1])[0],
        model.gradients.twin("gradient").gradients(x, [0, 1])[0],
        1e-3,
    )
    assert compare_gradients(model, x)["exported"]


def test_batches_are_measured_on_the_device_within_its_limit() -> None:
    model, x = on_gpu("unet"), nets.image("unet").numpy()
    assert memory_budget(model.options, cuda=True) == LIMIT // 2
    found = measure_batches(model, x)
    for kind in ("forward", "gradient"):
        assert found[kind]["items"] * found[kind]["bytes per item"] <= LIMIT // 2 or found[kind]["items"] == 1


def test_torch_may_not_take_what_is_onnx_runtimes() -> None:
    on_gpu("plain").predict(nets.image("plain").numpy())
    try:
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(LIMIT // 2 + (64 << 20), dtype=torch.uint8, device="cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, 0)


def test_a_package_is_onboarded_on_the_device(tmp_path: Path) -> None:
    folder = tmp_path / "dense" / "1.0.0"
    shutil.copytree(nets.packed("dense"), folder)
    options = RuntimeOptions(device="cuda", gpu_memory_limit=LIMIT)
    images = [nets.image("dense", seed).numpy() for seed in range(1, 3)]
    report = onboard(load_package(folder, options=options), images, only=["gradient", "rise"])
    assert report["providers"][0] == "CUDAExecutionProvider"
    assert report["tier"] == "T2"
