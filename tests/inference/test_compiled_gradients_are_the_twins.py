from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from explain.references import close
from inference import nets
from whyray.base.errors import PackageError
from whyray.explain import explain
from whyray.inference import Model, RuntimeOptions, compiled, load_package
from whyray.inference.compiled import CompiledEngine, CompiledHead
from whyray.onboarding.gradient_comparison import compare_gradients, compare_heads, worth_it

TARGETS = [0, 1, 2]


def _loaded(folder: Path, cache: Path | None = None) -> Model:
    """With the cache that all tests of a run share, unless another one is named."""
    options = RuntimeOptions(device="cpu", intra_op_threads=1)
    return load_package(folder, options=options if cache is None else replace(options, cache=cache))


def _onboarded(tmp_path: Path, name: str, **compiled: object) -> Path:
    """A package whose report says that compiled gradients win."""
    folder = tmp_path / name / "1.0.0"
    shutil.copytree(nets.packed(name), folder)
    model = nets.loaded(name)
    report = {
        "digest": model.package.digest,
        "tier": "T2",
        "providers": list(model.session.providers),
        "compiled": compiled,
    }
    (folder / "onboarding").mkdir()
    (folder / "onboarding" / "report.json").write_text(json.dumps(report))
    return folder


WINS = {"exported": True, "converter": "onnx2fx", "used up to targets": 3}


@pytest.mark.parametrize("name", ["plain-3d", "rgb", "pool", "residual", "dense", "unet", "unet-3d", "vit"])
def test_the_gradient_compiles_for_every_kind_of_net_and_is_that_of_the_twin(name: str) -> None:
    model, x = nets.loaded(name), nets.image(name).numpy()
    several = np.concatenate([x, nets.image(name, 2).numpy()])
    regions = None
    if model.task == "segmentation":
        regions = np.random.default_rng(0).random((3, *x.shape[2:])).astype(np.float32)
    engine, twin = model.gradients.compiled(), model.gradients.twin("gradient")
    for images in (x, several):
        expected, logits = twin.gradients(images, TARGETS, regions)
        gradients, answer = engine.gradients(images, TARGETS, regions)
        assert gradients.shape == expected.shape == (3, *images.shape)
        close(gradients, expected)
        close(answer, logits)
    close(engine.answers(several), model.session.logits(several))


def test_regions_and_targets_that_differ_give_gradients_that_differ() -> None:
    model, x = nets.loaded("unet"), nets.image("unet").numpy()
    regions = np.zeros((2, 32, 32), np.float32)
    regions[0, :16], regions[1, 16:] = 1, 1
    gradients, _ = model.gradients.compiled().gradients(x, [1, 1], regions)
    assert np.abs(gradients[0] - gradients[1]).max() > 0.1 * np.abs(gradients).max()


@pytest.mark.parametrize("name", ["flatten", "pool"])
def test_a_compiled_head_gives_all_targets_in_one_run(name: str) -> None:
    model, x = nets.loaded(name), nets.image(name).numpy()
    run = model.session.run(x)
    assert run.features is not None
    expected, _ = model.gradients.converted_head()(run.features, run.logits, TARGETS)
    gradients, gap = model.gradients.compiled_head()(run.features, run.logits, TARGETS)
    close(gradients, expected)
    assert gap < 1e-5


@pytest.mark.parametrize("method", ["gradient", "input-x-gradient", "smooth-grad", "integrated-gradients"])
def test_methods_use_the_compiled_gradient_where_the_report_says_so_with_the_same_numbers(
    tmp_path: Path, method: str
) -> None:
    folder, x = _onboarded(tmp_path, "dense", **{"input gradient": WINS}), nets.image("dense").numpy()
    model = _loaded(folder)
    assert isinstance(model.gradients.engine(method, 3), CompiledEngine)
    for heatmap, expected in zip(
        explain(model, x, target="all", method=method),
        explain(nets.loaded("dense"), x, target="all", method=method),
        strict=True,
    ):
        close(heatmap.values, expected.values)
        assert heatmap.evidence["engine_parity"] < 1e-5


def test_cams_of_a_head_without_a_closed_form_use_its_compiled_gradient(tmp_path: Path) -> None:
    folder, x = _onboarded(tmp_path, "flatten", **{"head gradient": WINS}), nets.image("flatten").numpy()
    model = _loaded(folder)
    assert isinstance(model.gradients.head, CompiledHead)
    for method in ("grad-cam", "hi-res-cam", "grad-cam-plus-plus", "layer-cam"):
        ours = explain(model, x, target="all", method=method)
        for heatmap, expected in zip(
            ours, explain(nets.loaded("flatten"), x, target="all", method=method), strict=True
        ):
            close(heatmap.values, expected.values)


def test_for_more_targets_than_measured_to_win_the_twin_is_used(tmp_path: Path) -> None:
    folder = _onboarded(tmp_path, "dense", **{"input gradient": {**WINS, "used up to targets": 2}})
    model = _loaded(folder)
    assert isinstance(model.gradients.engine("gradient", 2), CompiledEngine)
    assert model.gradients.engine("gradient", 3) is model.gradients.twin("gradient")


def test_a_second_worker_takes_the_compiled_graph_from_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, x = _onboarded(tmp_path, "dense", **{"input gradient": WINS}), nets.image("dense").numpy()
    cache = tmp_path / "cache"
    expected = _loaded(folder, cache).gradients.engine("gradient", 1).gradients(x, [0])[0]
    assert sorted(path.name.partition("-")[0] for path in cache.iterdir()) == ["gradient", "proof"]

    def never(*given: object) -> bytes:
        raise AssertionError("compiled again")

    monkeypatch.setattr(compiled, "export_gradient", never)
    model = _loaded(folder, cache)
    assert isinstance(model.gradients.engine("gradient", 1), CompiledEngine)
    assert np.array_equal(model.gradients.engine("gradient", 1).gradients(x, [0])[0], expected)


def test_a_gradient_that_can_not_be_had_after_all_is_the_twins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*given: object) -> bytes:
        raise ValueError("another version of torch")

    monkeypatch.setattr(compiled, "export_gradient", fails)
    model = _loaded(_onboarded(tmp_path, "dense", **{"input gradient": WINS}), tmp_path / "empty")
    assert model.gradients.engine("gradient", 1) is model.gradients.twin("gradient")
    assert "another version of torch" in caplog.text


def test_a_model_with_other_weights_never_gets_what_was_compiled_from_the_package(tmp_path: Path) -> None:
    model = _loaded(_onboarded(tmp_path, "dense", **{"input gradient": WINS}))
    x = nets.image("dense").numpy()
    before = explain(model, x, target="one", method="gradient").values
    proto = onnx.ModelProto()
    proto.CopyFrom(model.network.graph.proto)
    for initializer in proto.graph.initializer:
        values = onnx.numpy_helper.to_array(initializer)
        if values.ndim > 1:
            initializer.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(-values), initializer.name))
    other = model.with_graph(proto)
    assert not isinstance(other.gradients.engine("gradient", 1), CompiledEngine)
    after = explain(other, x, target="one", method="gradient").values
    assert np.abs(after - before).max() > 0.1 * before.max()


def test_a_report_of_another_device_is_not_believed_about_speed(tmp_path: Path) -> None:
    folder = _onboarded(tmp_path, "dense", **{"input gradient": WINS})
    path = folder / "onboarding" / "report.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "providers": ["CUDAExecutionProvider"]}))
    model = _loaded(folder)
    assert model.gradients.engine("gradient", 1) is model.gradients.twin("gradient")


def test_a_package_that_was_changed_behind_its_report_runs_nothing(tmp_path: Path) -> None:
    folder = _onboarded(tmp_path, "dense", **{"input gradient": WINS})
    (folder / "MODEL_CARD.md").write_text("another")
    with pytest.raises(PackageError, match="changed after it was onboarded"):
        _loaded(folder).predict(nets.image("dense").numpy())


def test_the_comparison_says_how_far_the_gradient_is_from_the_twin_and_when_it_is_used() -> None:
    entry = compare_gradients(nets.loaded("dense"), nets.image("dense").numpy())
    assert entry["exported"]
    assert entry["difference to the twin"] < 1e-5
    assert set(entry["seconds"]) == {"twin, 1 target", "twin, 3 targets", "compiled, 1 target"}
    assert 0 <= entry["used up to targets"] <= 3
    head = compare_heads(nets.loaded("flatten"), nets.image("flatten").numpy())
    assert head["difference to the twin"] < 1e-5


@pytest.mark.parametrize("fault", ["wrong", "fails"])
def test_a_gradient_that_differs_or_does_not_export_is_not_used_and_the_report_says_why(
    monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    right = compiled.export_gradient

    def export(module: object, item: object) -> bytes:
        if fault == "fails":
            raise ValueError("no operator for this way back")
        proto = onnx.load_from_string(right(module, item))  # type: ignore[arg-type]
        last = next(node for node in proto.graph.node if "gradient" in node.output)
        last.output[list(last.output).index("gradient")] = "right"
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(1.01, np.float32), "factor"))
        proto.graph.node.append(onnx.helper.make_node("Mul", ["right", "factor"], ["gradient"]))
        return proto.SerializeToString()

    monkeypatch.setattr(compiled, "export_gradient", export)
    model = load_package(nets.packed("plain"), options=RuntimeOptions(device="cpu", intra_op_threads=1, cache=None))
    entry = compare_gradients(model, nets.image("plain").numpy())
    assert entry["used up to targets"] == 0
    assert {"wrong": "differ from the twin's by 0.01", "fails": "no operator for this way back"}[fault] in entry[
        "why not"
    ]


@pytest.mark.parametrize(
    ("first", "several", "own", "used"),
    [(10, 16, 12, 0), (10, 16, 9, 1), (10, 16, 4, 4), (10, 16, 1, 14), (10, 40, 9, 14)],
)
def test_the_compiled_gradient_is_used_for_as_many_targets_as_it_is_faster_for(
    first: float, several: float, own: float, used: int
) -> None:
    assert worth_it(first, several, own, measured=4, targets=14) == used
    if used not in (0, 14):
        more = (several - first) / 3
        assert used * own <= first + (used - 1) * more
        assert (used + 1) * own > first + used * more
