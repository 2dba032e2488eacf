"""Grad-CAM compiled into the graph: the maps of the formula, from the run that answers, and only where asked for."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from explain.references import close
from inference import nets
from whyray.explain import explain, explained_image
from whyray.explain.grid import upsample
from whyray.inference import AxisPlacement, MapPlacement, Model, RuntimeOptions, class_maps, load_package
from whyray.inference import answer_session as answering
from whyray.inference.session import run_bound

EDGE_TO_EDGE = MapPlacement((None, None))
CPU = RuntimeOptions(device="cpu", intra_op_threads=1)
CLOSED = ["plain", "plain-3d", "rgb", "pool", "residual", "residual-3d", "dense", "unet", "unet-3d", "swin"]


def by_formula(model: Model, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """ReLU(sum_k alpha_k A_k), upsampled: Selvaraju et al. 2017, eq. 1 and 2."""
    features = model.session.run(x).features
    assert features is not None
    assert model.network.head is not None
    alpha = model.network.head.weight / np.prod(features.shape[2:])
    assert model.network.features_name is not None
    low = np.maximum(np.einsum("tc,c...->t...", alpha, features[0]), 0)
    return upsample(low, x.shape[2:], model.network.placement(model.network.features_name))


@pytest.mark.parametrize("kind", CLOSED)
def test_the_maps_are_those_of_the_formula_for_all_targets_in_one_run(kind: str) -> None:
    model, x = nets.loaded(kind), nets.image(kind).numpy()
    expected = by_formula(model, x)
    before = model.session.forwards
    run = model.session.run(x)
    assert model.session.forwards == before + 1
    wanted = {model.targets.index(target) for target in model.explainable_targets}
    assert set(run.grad_cams) == wanted
    targets = list(run.grad_cams)
    close(np.stack([run.grad_cams[target] for target in targets]), expected[targets], 1e-5)


@pytest.mark.parametrize("kind", ["plain", "residual", "unet"])
def test_grad_cam_is_what_the_run_gave_and_costs_no_second_one(kind: str) -> None:
    model, x = nets.loaded(kind), nets.image(kind).numpy()
    before = model.session.forwards
    image = explained_image(model, x)
    heatmaps = explain(model, image, target="all", method="grad-cam")
    assert model.session.forwards == before + 1
    for heatmap in heatmaps:
        assert heatmap.values is image.run.grad_cams[model.targets.index(heatmap.target)]


def test_batches_and_answers_know_nothing_of_the_maps() -> None:
    model, x = nets.loaded("plain"), nets.image("plain").numpy()
    assert not model.session.run(np.concatenate([x, x])).grad_cams
    session = model.session._answering._session
    logits, maps = session.run([model.network.logits_name, class_maps.MAPS], {model.network.graph.input: x})
    assert maps.shape == (1, 0, *model.spatial_shape), "which targets was not said"
    close(logits, model.session.logits(x), 1e-6)


@pytest.mark.parametrize("kind", ["plain", "unet-3d"])
def test_bound_inputs_and_outputs_give_the_same_maps_as_on_a_gpu(kind: str) -> None:
    model, x = nets.loaded(kind), nets.image(kind).numpy()
    expected = model.session.run(x).grad_cams
    feeds = {model.network.graph.input: x, class_maps.TARGETS: np.array(list(expected), np.int64)}
    logits, maps = run_bound(
        model.session._answering._session, [model.network.logits_name, class_maps.MAPS], feeds, "cpu"
    )
    close(logits, model.session.logits(x), 1e-6)
    for target, grad_cam in zip(expected, maps[0], strict=True):
        assert np.array_equal(grad_cam, expected[target])


@pytest.mark.parametrize("kind", ["vit", "flatten"])
def test_a_head_without_closed_form_or_with_one_by_position_still_gives_right_maps(kind: str, tmp_path: Path) -> None:
    # Of a ViT no map is taken by itself; its patch embedding must be named.
    named = {"output__features": "conv2d"} if kind == "vit" else {}
    model, x = load_package(nets.pack(tmp_path, kind, **named), options=CPU), nets.image(kind).numpy()
    heatmaps = explain(model, x, target="all", method="grad-cam")
    if model.network.head is None:
        assert not model.session.run(x).grad_cams
    for heatmap in heatmaps:
        assert heatmap.values.shape == model.spatial_shape


def test_weights_that_were_changed_give_other_maps() -> None:
    model, x = nets.loaded("plain"), nets.image("plain").numpy()
    proto = onnx.ModelProto()
    proto.CopyFrom(model.network.graph.proto)
    (head,) = (initializer for initializer in proto.graph.initializer if initializer.name.endswith("linear.weight"))
    weight = onnx.numpy_helper.to_array(head)
    head.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(-weight), head.name))
    other = model.with_graph(proto)
    for target, grad_cam in other.session.run(x).grad_cams.items():
        close(grad_cam, by_formula(other, x)[target], 1e-5)
        assert not np.allclose(grad_cam, model.session.run(x).grad_cams[target])


def _refusing(monkeypatch: pytest.MonkeyPatch, name: str, when: Any) -> None:
    real = getattr(answering, name)

    def refuses(*given: Any, **named: Any) -> Any:
        if when(*given):
            raise answering.PackageError("this device has no such operator")
        return real(*given, **named)

    monkeypatch.setattr(answering, name, refuses)


@pytest.mark.parametrize("at", ["loading", "running"])
def test_a_device_that_cannot_run_the_maps_still_answers_and_the_log_says_so(
    at: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if at == "loading":
        _refusing(monkeypatch, "open_session", lambda graph, *_: class_maps.MAPS.encode() in graph)
    else:
        _refusing(monkeypatch, "run_session", lambda _, names, *__: class_maps.MAPS in names)
    model, x = load_package(nets.packed("plain")), nets.image("plain").numpy()
    with caplog.at_level(logging.WARNING):
        heatmaps = explain(model, x, target="all", method="grad-cam")
    assert not model.session.run(x).grad_cams
    expected = by_formula(model, x)
    for heatmap in heatmaps:
        close(heatmap.values, expected[model.targets.index(heatmap.target)], 1e-5)
    assert "computed beside it" in caplog.text


def test_maps_that_would_take_much_memory_or_an_old_graph_are_left_out() -> None:
    model = nets.loaded("plain")
    assert model.network.features_name is not None
    given = (model.network.graph, model.network.features_name, model.network.head, [0, 1])
    lies = model.network.placement(model.network.features_name)
    maps = class_maps.class_maps(*given, (32, 32), lies)
    assert maps is not None
    assert class_maps.class_maps(*given, (4096, 4096), lies) is None
    proto = model.network.graph.giving([model.network.logits_name])
    for opset in proto.opset_import:
        opset.version = 12 if opset.domain in ("", "ai.onnx") else opset.version
    before = proto.SerializeToString()
    assert not class_maps.add_grad_cam(proto, maps)
    assert proto.SerializeToString() == before


@pytest.mark.parametrize("lies", [EDGE_TO_EDGE, MapPlacement((AxisPlacement(-0.1, 0.07), None))])
def test_a_whole_map_is_drawn_where_the_input_is_no_multiple_of_the_grid(lies: MapPlacement) -> None:
    model, x = nets.loaded("plain"), nets.image("plain").numpy()
    assert model.network.features_name is not None
    given = (model.network.graph, model.network.features_name, model.network.head, [0])
    maps = class_maps.class_maps(*given, (33, 47), lies)
    assert maps is not None
    session = answering.AnswerSession(
        model.network.graph,
        [model.network.logits_name, model.network.features_name],
        model.options,
        replace(maps, targets=(1, 0)),
    )
    outputs, drawn = session.run(model.network.graph.input, x, [model.network.features_name], maps=True)
    assert list(drawn) == [1, 0]
    assert model.network.head is not None
    low = np.einsum("tc,c...->t...", maps.weight, outputs[model.network.features_name][0])
    for target, grad_cam in drawn.items():
        close(grad_cam, upsample(np.maximum(low[target], 0), (33, 47), lies), 1e-5)
