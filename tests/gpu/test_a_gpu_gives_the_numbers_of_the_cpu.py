"""Run by `pytest -m gpu` where ONNX Runtime and torch both have CUDA; skipped by name elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from explain.both_ways import METHODS as PERTURBATIONS
from explain.both_ways import cards_alike, maps_alike
from explain.references import close
from inference import nets
from whyray.explain import explain, explained_image
from whyray.explain.masks import Segments, ShiftedGrids, UpsampledGrids, Windows
from whyray.inference import Model, RuntimeOptions, load_package, mask_graphs, masked_passes
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


def on_gpu(name: str, **changes: Any) -> Model:
    options = RuntimeOptions(device="cuda", gpu_memory_limit=LIMIT, **changes)
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
    heatmap = explain(on_gpu(name), x, target="two", method=method, **parameters)
    close(heatmap.values, explain(nets.loaded(name), x, target="two", method=method, **parameters).values, 1e-2)


@pytest.mark.parametrize("name", ["plain", "unet", "plain-3d", "unet-3d"])
def test_grad_cam_comes_with_the_answer_there_too(name: str) -> None:
    x, expected = nets.image(name).numpy(), nets.loaded(name).session.run(nets.image(name).numpy()).grad_cams
    grad_cams = on_gpu(name).session.run(x).grad_cams
    assert grad_cams.keys() == expected.keys() != set()
    for target, grad_cam in grad_cams.items():
        assert abs(grad_cam - expected[target]).max() <= 1e-2 * max(abs(one).max() for one in expected.values())


def test_twin_and_graph_are_on_the_same_device_and_the_twin_is_verified_there() -> None:
    twin = on_gpu("dense").gradients.twin("gradient")
    assert twin.device == "cuda"
    assert all(tensor.is_cuda for tensor in twin.module.state_dict().values())


def test_bound_inputs_and_outputs_give_the_numbers_of_a_plain_run() -> None:
    model, x = on_gpu("dense"), nets.image("dense").numpy()
    session = open_session(model.network.graph.with_outputs(["logits"]), model.options, name="bound")
    expected = session.run(["logits"], {"x": x})[0]
    close(run_bound(session, ["logits"], {"x": x}, "cuda")[0], expected, 1e-5)


@pytest.mark.parametrize("method", PERTURBATIONS)
@pytest.mark.parametrize("name", ["dense", "residual-3d", "unet", "unet-3d"])
def test_images_made_on_the_gpu_give_the_maps_of_those_made_in_numpy(name: str, method: str) -> None:
    host, device = on_gpu(name, perturbed_on="host"), on_gpu(name)
    assert (host.session.perturbs_on_device, device.session.perturbs_on_device) == (False, True)
    maps_alike(host, device, name, method, 1e-2)


@pytest.mark.parametrize("name", ["dense", "residual-3d", "unet"])
def test_images_made_on_the_gpu_give_the_cards_of_those_made_in_numpy(name: str) -> None:
    cards_alike(on_gpu(name, perturbed_on="host"), on_gpu(name), name, 1e-2)


@pytest.mark.parametrize("method", ["rise", "occlusion", "lime"])
def test_image_and_replacement_go_to_the_gpu_once_and_no_batch_does(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, sent = on_gpu("dense", batch_size=4), []
    right = masked_passes.placed
    image = explained_image(model, nets.image("dense").numpy())
    assert model.session.batchable(np.concatenate([image.x] * 3))
    assert image.run.logits.size
    monkeypatch.setattr(masked_passes, "placed", lambda array, to: sent.append((array.shape, to)) or right(array, to))
    monkeypatch.setattr(model.session, "logits", lambda x: pytest.fail(f"images {x.shape} came from the host"))
    explain(model, image, target="two", method=method, **PERTURBATIONS[method])
    assert {to for _, to in sent} == {"cuda"}
    assert [shape for shape, _ in sent].count(image.x.shape) == 2


def test_every_node_that_makes_masks_sums_and_scores_runs_on_the_gpu() -> None:
    shape = (8, 12, 16)
    rules = (
        ShiftedGrids(shape, 4).rule,
        UpsampledGrids(shape, (2, 3, 4), scaled=True).rule,
        Windows(shape, (3, 4, 5)).rule,
        Segments(np.zeros(shape, np.intp)).rule,
    )
    graphs = [mask_graphs.mask_graph(rule, 2, kind) for rule in rules for kind in (np.float32, np.float16)]
    graphs += [mask_graphs.sum_graph(shape, 3)]
    graphs += [mask_graphs.score_graph(3, shape, 2, kind) for kind in (np.float32, np.float16)]
    settings = onnxruntime.SessionOptions()
    settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")  # it would copy there and back
    for graph in graphs:
        onnxruntime.InferenceSession(graph, settings, providers=["CUDAExecutionProvider"])


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
    measured = measure_batches(model, x)
    for kind in ("forward", "gradient"):
        assert measured[kind]["items"] * measured[kind]["bytes per item"] <= LIMIT // 2 or measured[kind]["items"] == 1


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
