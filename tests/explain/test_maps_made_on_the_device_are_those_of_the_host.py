"""Perturbation methods both ways: images made in numpy, and made where the model runs (here: the CPU provider)."""

from __future__ import annotations

import copy
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from explain.both_ways import METHODS, cards_alike, found_targets, maps_alike
from explain.references import close
from inference import nets
from whyray.base.errors import Cancelled
from whyray.explain import Case, explain, explained_image
from whyray.explain.anatomy.coalitions import Players
from whyray.explain.typed import Structure
from whyray.inference import Model, RuntimeOptions, load_package, mask_graphs, masked_passes
from whyray.inference.network_session import NetworkSession
from whyray.quality import assess
from whyray.quality.budget import Budget

HOST = RuntimeOptions(device="cpu", intra_op_threads=1, perturbed_on="host", cache=None)
DEVICE = replace(HOST, perturbed_on="device")


def pair(folder: Path) -> tuple[Model, Model]:
    """The same package, its perturbed images made on the host and on the device."""
    return load_package(folder, options=HOST), load_package(folder, options=DEVICE)


def no_host(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, an image of this model from the host is a failure."""

    def refused(x: np.ndarray) -> np.ndarray:
        raise AssertionError(f"images {x.shape} came from the host")

    monkeypatch.setattr(model.session, "logits", refused)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["plain", "rgb", "plain-3d", "unet", "unet-3d"])
def test_maps_are_the_same_but_for_rounding(name: str, method: str) -> None:
    host, device = pair(nets.packed(name))
    maps_alike(host, device, name, method, 1e-3)
    proof = 6  # three images together, and each alone
    assert 0 <= device.session.forwards - host.session.forwards <= proof


@pytest.mark.parametrize("fill", ["zero", "blur"])
def test_other_fills_are_the_same_too(fill: str) -> None:
    host, device = pair(nets.packed("rgb"))
    for method in ("rise", "occlusion", "lime"):
        maps_alike(host, device, "rgb", method, 1e-3, fill=fill)


def test_rise_of_both_estimators_is_the_same() -> None:
    host, device = pair(nets.packed("plain"))
    for centred in (True, False):
        maps_alike(host, device, "plain", "rise", 1e-4, masks=41, centred=centred)


@pytest.mark.parametrize("name", ["plain", "plain-3d", "unet"])
def test_deletion_and_insertion_are_the_same_with_padding_and_without(name: str) -> None:
    cards_alike(*pair(nets.packed(name)), name, 1e-3)


def test_structures_are_taken_away_alike() -> None:
    host, device = pair(nets.packed("plain"))
    x = nets.image("plain").numpy()
    disc = np.hypot(*np.mgrid[-16:16, -16:16])
    structures = [Structure("inner", disc < 6), Structure("outer", disc < 12)]
    rng = np.random.default_rng(0)
    present = rng.random((20, 3)) < 0.5
    present[0] = True
    expected, scores = (
        Players(Case(model, explained_image(model, x), [0, 1]), structures, "mean").scores(present)
        for model in (host, device)
    )
    close(scores, expected, 1e-4)


def test_a_bundled_package_gives_the_same_maps_and_cards() -> None:
    models = [load_package("cxr-findings", options=options) for options in (HOST, DEVICE)]
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in models[0].spatial_shape), indexing="ij")
    blob = np.exp(-sum((axis - 0.2) ** 2 for axis in axes) * 4)
    x = np.broadcast_to(blob, models[0].network.input_shape).astype(np.float32)
    target = models[0].explainable_targets[0]
    for method, parameters in (("rise", {"masks": 24}), ("occlusion", {"window": 64, "stride": 64})):
        expected, heatmap = (explain(model, x, target=target, method=method, **parameters) for model in models)
        close(heatmap.values, expected.values, 1e-3)
    cards = [assess(model, x, heatmap, budget=Budget(repeats=False)) for model in models]
    for one, other in zip(cards[1].measurements, cards[0].measurements, strict=True):
        assert (one.name, one.grade) == (other.name, other.grade)
        assert one.value == pytest.approx(other.value, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("method", ["rise", "occlusion", "lime", "extremal-perturbation"])
@pytest.mark.parametrize("name", ["plain", "unet-3d"])
def test_images_go_to_the_device_once_a_method(name: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = nets.packed(name)
    x = nets.image(name).numpy()
    sent: list[tuple[tuple[int, ...], np.dtype[Any]]] = []
    right = masked_passes.placed

    def counted(array: np.ndarray, device: str) -> Any:
        sent.append((array.shape, array.dtype))
        return right(array, device)

    monkeypatch.setattr(masked_passes, "placed", counted)
    image = explained_image(load_package(folder, options=replace(DEVICE, batch_size=4)), x)
    target = found_targets(name)[0]
    assert image.model.session.batchable(np.concatenate([image.x] * 3))
    assert image.run.logits.size
    if method != "extremal-perturbation":  # which asks once for the image that is hidden throughout
        no_host(image.model, monkeypatch)
    explain(image.model, image, target=target, method=method, **METHODS[method])
    assert [shape for shape, _ in sent].count(image.x.shape) == 2, "the image and what is seen where it is hidden"
    voxels = int(np.prod(image.x.shape[2:]))
    lasting = [shape for shape, _ in sent if np.prod(shape) >= voxels and shape != image.x.shape]
    # and what lasts as long as the method: the segments, the two halves' sums, the region of a segmentation's target
    assert len(lasting) <= 1 + 2
    assert len(sent) > 10, "each batch sends its numbers"


@pytest.mark.parametrize("name", ["residual", "unet"])
def test_a_graph_in_half_precision_is_asked_the_same(tmp_path: Path, name: str) -> None:
    host, device = pair(nets.half_precision(tmp_path, name))
    x = nets.image(name).numpy()
    target = found_targets(name)[0]
    for method in ("occlusion", "rise"):
        expected = explain(host, x, target=target, method=method, **METHODS[method])
        close(explain(device, x, target=target, method=method, **METHODS[method]).values, expected.values, 0.02)


def test_a_segmentation_that_answers_in_double_precision_is_asked_the_same(tmp_path: Path) -> None:
    proto = onnx.load(nets.packed("unet") / "model.onnx")
    output = proto.graph.output[0]
    proto.graph.node.append(helper.make_node("Cast", [output.name], ["double"], to=onnx.TensorProto.DOUBLE))
    changed = copy.deepcopy(output)
    changed.name, changed.type.tensor_type.elem_type = "double", onnx.TensorProto.DOUBLE
    del proto.graph.output[0]
    proto.graph.output.append(changed)
    folder = nets.write_manifest(tmp_path / "unet" / "1.0.0", nets.manifest("unet", output__name="double"))
    onnx.save(proto, folder / "model.onnx")
    host, device = pair(folder)
    x, target = nets.image("unet").numpy(), found_targets("unet")[0]
    expected = explain(host, x, target=target, method="occlusion", **METHODS["occlusion"])
    close(explain(device, x, target=target, method="occlusion", **METHODS["occlusion"]).values, expected.values, 1e-3)


def graph(tmp_path: Path, nodes: list[Any], kind: int, size: tuple[Any, ...], **changes: object) -> Path:
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(6, 1, 3, 3)), "linear": rng.normal(size=(6, 3))}
    proto = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", kind, size)],
            [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["n", 3])],
            [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    folder = nets.write_manifest(tmp_path / "plain" / "1.0.0", nets.manifest("plain", **changes))
    onnx.save(proto, folder / "model.onnx")
    return folder


ENDING = [
    helper.make_node("Conv", ["first", "w"], ["maps"]),
    helper.make_node("Relu", ["maps"], ["features"]),
    helper.make_node("ReduceMean", ["features"], ["flat"], axes=[2, 3], keepdims=0),
    helper.make_node("MatMul", ["flat", "linear"], ["logits"]),
]


def test_a_channels_last_package_is_asked_the_same(tmp_path: Path) -> None:
    nodes = [helper.make_node("Transpose", ["x"], ["first"], perm=[0, 3, 1, 2]), *ENDING]
    size = ("n", 20, 24, 1)
    host, device = pair(
        graph(tmp_path, nodes, onnx.TensorProto.FLOAT, size, input__shape=[20, 24], input__layout="NHWC")
    )
    x = np.random.default_rng(1).normal(size=(1, 20, 24, 1)).astype(np.float32)
    for method, parameters in METHODS.items():
        expected = explain(host, x, target="one", method=method, **parameters)
        close(explain(device, x, target="one", method=method, **parameters).values, expected.values, 1e-3)


def test_a_package_of_whole_numbers_is_asked_the_same(tmp_path: Path) -> None:
    nodes = [helper.make_node("Cast", ["x"], ["first"], to=onnx.TensorProto.FLOAT), *ENDING]
    intensity = {"source": "voi", "std": [1 / 255]}
    size = ("n", 1, 32, 32)
    host, device = pair(graph(tmp_path, nodes, onnx.TensorProto.UINT8, size, input__intensity=intensity))
    x = np.random.default_rng(1).integers(0, 256, (1, 1, 32, 32)).astype(np.float32)
    for method in ("occlusion", "lime"):
        expected = explain(host, x, target="one", method=method, **METHODS[method])
        close(explain(device, x, target="one", method=method, **METHODS[method]).values, expected.values, 1e-4)


def test_a_graph_of_a_fixed_batch_is_asked_from_the_host(tmp_path: Path) -> None:
    host, device = pair(nets.pack(tmp_path, "plain", dynamic=False))
    x = nets.image("plain").numpy()
    for method in ("occlusion", "rise"):
        expected = explain(host, x, target="one", method=method, **METHODS[method])
        heatmap = explain(device, x, target="one", method=method, **METHODS[method])
        assert np.array_equal(heatmap.values, expected.values)


def test_a_graph_that_does_not_load_there_leaves_the_images_to_the_host(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    host, device = pair(nets.packed("plain"))
    x = nets.image("plain").numpy()
    monkeypatch.setattr(mask_graphs, "_OPSET", 9999)
    with caplog.at_level(logging.WARNING):
        heatmap = explain(device, x, target="one", method="occlusion", window=7, stride=5)
    assert "perturbed images are made on the host" in caplog.text
    expected = explain(host, x, target="one", method="occlusion", window=7, stride=5)
    assert np.array_equal(heatmap.values, expected.values)


def test_without_a_gpu_images_are_made_on_the_host_unless_asked() -> None:
    assert not load_package(nets.packed("plain"), options=replace(HOST, perturbed_on="auto")).session.perturbs_on_device
    assert not load_package(nets.packed("plain"), options=HOST).session.perturbs_on_device
    assert load_package(nets.packed("plain"), options=DEVICE).session.perturbs_on_device


def test_it_stops_between_two_batches_when_cancelled() -> None:
    _, device = pair(nets.packed("plain"))
    told: list[int] = []

    def stop(done: int, total: int, words: str) -> None:
        told.append(done)
        if done >= 16:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        explain(device, nets.image("plain").numpy(), target="one", method="rise", masks=80, progress=stop)
    assert told == [0, 8, 16]


def test_a_batch_leaves_room_for_what_it_is_made_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item = 4096
    beside = masked_passes.bytes_beside(1, 32 * 32)
    entry = {"batch": {"forward": {"items": 16, "bytes per item": item}, "gradient": {"items": 16}}}
    for options, expected in ((HOST, 8), (DEVICE, 8 * item // (item + beside))):
        session = load_package(nets.packed("plain"), options=replace(options, memory_limit=8 * item)).session
        monkeypatch.setattr(NetworkSession, "measured", entry)
        assert session.batch_size == max(1, expected)
