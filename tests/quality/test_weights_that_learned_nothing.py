"""A network is asked whether its weights hold anything that was learned, onboarded or not."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from planted import BRIGHT, planted_package
from whyray.explain import Heatmap, explain
from whyray.inference import Model, RuntimeOptions, load_package
from whyray.packages import BUNDLED, write_artefact
from whyray.quality import Grade, assess, learned_weights
from whyray.quality.known_answers import KIND, known_answers
from whyray.quality.learned_weights import NAME, apart_from_chance, weights_that_learned

CPU = RuntimeOptions(device="cpu", intra_op_threads=1, cache=None)
CHANCE = 5.0


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def learned(*shape: int, part: float = 0.1) -> np.ndarray:
    """Drawn weights, with so much of their energy in one common direction, as the first steps of learning leave it."""
    rows, columns = shape[0], int(np.prod(shape[1:]))
    common = np.outer(drawn(rows, seed=1), drawn(columns, seed=2)).reshape(shape)
    return np.sqrt(1 - part) * drawn(*shape) + np.sqrt(part) * common


def shuffled(weights: np.ndarray) -> np.ndarray:
    return np.random.default_rng(3).permutation(weights.ravel()).reshape(weights.shape)


@pytest.mark.parametrize("shape", [(64, 64, 3, 3), (512, 128), (128, 512), (64, 3, 3, 3, 60)])
def test_layers_that_learned_lie_apart_from_chance_and_the_same_shuffled_do_not(shape: tuple[int, ...]) -> None:
    apart, again = apart_from_chance(learned(*shape)), apart_from_chance(shuffled(learned(*shape)))
    assert apart is not None
    assert again is not None
    assert apart > 2 * CHANCE
    assert abs(again) < CHANCE


@pytest.mark.parametrize(
    "kind", ["normal", "heavy tails", "rows of other sizes", "offset", "whole numbers", "half", "mostly zeros"]
)
def test_what_was_drawn_is_chance_however_it_was_drawn(kind: str) -> None:
    rng = np.random.default_rng(7)
    weights = {
        "normal": rng.standard_normal((128, 512)),
        "heavy tails": rng.standard_t(3, (128, 512)),
        "rows of other sizes": rng.standard_normal((128, 512)) * rng.uniform(0.01, 10, (128, 1)),
        "offset": rng.standard_normal((128, 512)) + 5,
        "whole numbers": rng.integers(-128, 128, (128, 512)).astype(np.int8),
        "mostly zeros": rng.standard_normal((128, 512)) * (rng.random((128, 512)) < 0.02),
        "half": rng.standard_normal((128, 512)).astype(np.float16),
    }[kind]
    apart = apart_from_chance(weights)
    assert apart is not None
    assert abs(apart) < CHANCE


def test_a_layer_that_learned_hardly_anything_is_told_by_the_direction_that_its_rows_share() -> None:
    hardly = learned(512, 512, part=0.006)
    rows = hardly - hardly.mean(axis=1, keepdims=True)
    apart, again = apart_from_chance(hardly), apart_from_chance(shuffled(hardly))
    assert abs(learned_weights._alike(rows / np.linalg.norm(rows, axis=1, keepdims=True))) < CHANCE
    assert apart is not None
    assert again is not None
    assert apart > 2 * CHANCE
    assert abs(again) < CHANCE


def test_filters_that_avoid_each_other_were_not_drawn() -> None:
    rows, _ = np.linalg.qr(drawn(512, 128))
    apart = apart_from_chance(rows.T)
    assert apart is not None
    assert apart < -CHANCE


def test_a_layer_of_millions_is_looked_at_in_part() -> None:
    apart = apart_from_chance(learned(2048, 8192))
    assert apart is not None
    assert apart > CHANCE


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_rows_that_are_not_finite_are_left_out(value: float) -> None:
    weights = learned(256, 256)
    weights[3, 4] = value
    apart = apart_from_chance(weights)
    assert apart is not None
    assert apart > CHANCE
    assert apart_from_chance(np.full((256, 256), value, np.float32)) is None


def test_two_rows_of_eight_numbers_are_the_least() -> None:
    assert apart_from_chance(drawn(1, 40000)) is None
    assert apart_from_chance(drawn(7, 7)) is None
    assert apart_from_chance(np.ones((64, 64), np.float32)) is None


def package(folder: Path, *weights: np.ndarray, beside: np.ndarray | None = None, constant: bool = False) -> Path:
    """The planted detector, whose answer passes square layers (200, 200) that leave it as it was, but for little.

    `beside` is a layer of another output that the answer does not depend on.
    """
    path = planted_package(folder, shape=(16, 16))
    model = onnx.load(path / "model.onnx")
    last = model.graph.node[-1]
    last.output[0] = "planted"
    nodes = [helper.make_node("Expand", ["planted", "wide"], ["x0"])]
    held = [numpy_helper.from_array(np.array([1, 200], np.int64), "wide")]
    for number, values in enumerate(weights):
        tensor = numpy_helper.from_array(values.astype(np.float32) * 1e-6, f"w{number}")
        if constant:
            nodes.append(helper.make_node("Constant", [], [f"w{number}"], value=tensor))
        else:
            held.append(tensor)
        nodes += [
            helper.make_node("MatMul", [f"x{number}", f"w{number}"], [f"y{number}"]),
            helper.make_node("Add", [f"x{number}", f"y{number}"], [f"x{number + 1}"]),
        ]
    held.append(numpy_helper.from_array(np.array([1], np.int64), "axis"))
    nodes.append(helper.make_node("ReduceMean", [f"x{len(weights)}", "axis"], ["logits"], keepdims=1))
    if beside is not None:
        held.append(numpy_helper.from_array(beside, "beside"))
        nodes.append(helper.make_node("MatMul", ["x0", "beside"], ["other"]))
        model.graph.output.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, ["batch", 4096]))
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(held)
    onnx.save(model, path / "model.onnx")
    return path


def share(path: Path) -> tuple[float, Grade] | None:
    measured = weights_that_learned(load_package(path, options=CPU))
    return (round(measured[0].value, 2), measured[0].grade) if measured else None


SQUARE = (200, 200)


def test_a_network_that_learned_is_green_and_one_that_was_drawn_or_shuffled_is_red(tmp_path: Path) -> None:
    assert share(package(tmp_path / "a", learned(*SQUARE), learned(*SQUARE))) == (0.0, Grade.GREEN)
    assert share(package(tmp_path / "b", drawn(*SQUARE))) == (1.0, Grade.RED)
    assert share(package(tmp_path / "c", shuffled(learned(*SQUARE)), learned(*SQUARE))) == (0.5, Grade.AMBER)


def test_weights_that_lie_in_nodes_count_as_those_that_lie_beside_them(tmp_path: Path) -> None:
    assert share(package(tmp_path, drawn(*SQUARE), constant=True)) == (1.0, Grade.RED)


@pytest.mark.parametrize(
    ("random", "of", "grade"), [(2, 3, Grade.RED), (3, 5, Grade.RED), (2, 5, Grade.AMBER), (1, 25, Grade.AMBER)]
)
def test_half_of_the_weights_may_be_random_and_is_said(random: int, of: int, grade: Grade, tmp_path: Path) -> None:
    layers = [drawn(*SQUARE)] * random + [learned(*SQUARE)] * (of - random)
    assert share(package(tmp_path, *layers)) == (round(random / of, 2), grade)


@pytest.mark.parametrize(("apart", "random"), [(4.9, 1.0), (-4.9, 1.0), (5.1, 0.0), (8.0, 0.0), (-8.0, 0.0)])
def test_five_standard_deviations_are_no_chance(
    apart: float, random: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learned_weights, "apart_from_chance", lambda weights: apart)
    measured = share(package(tmp_path, drawn(*SQUARE)))
    assert measured is not None
    assert measured[0] == random


def test_layers_that_are_too_small_to_be_told_say_nothing(tmp_path: Path) -> None:
    assert share(planted_package(tmp_path, shape=(16, 16))) is None


def test_what_the_answer_does_not_depend_on_may_be_random(tmp_path: Path) -> None:
    assert share(package(tmp_path, learned(*SQUARE), beside=drawn(200, 4096))) == (0.0, Grade.GREEN)


def spot(model: Model) -> np.ndarray:
    image = np.full(model.network.input_shape, 0.2, np.float32)
    image[..., 4:8, 4:8] = 0.95
    return image


def test_the_map_of_a_network_that_learned_nothing_is_withheld(tmp_path: Path) -> None:
    grades = {}
    for name, weights in (("learned", learned(*SQUARE)), ("drawn", drawn(*SQUARE))):
        model = load_package(package(tmp_path / name, weights), options=CPU)
        heatmap = explain(model, spot(model), target=BRIGHT, method="occlusion", window=4, stride=4)
        assert isinstance(heatmap, Heatmap)
        card = assess(model, spot(model), heatmap)
        assert NAME in {measured.name for measured in card.measurements}
        grades[name] = card.answers["model"], NAME in {measured.name for measured in card.concerns}
    assert grades["learned"][1] is False
    assert grades["drawn"] == (Grade.RED, True)


def test_a_network_that_was_onboarded_untrained_is_no_better_for_it(tmp_path: Path) -> None:
    """Its known answers are those of the network as it is, and nobody looked at its weights any more."""
    path = package(tmp_path, drawn(*SQUARE))
    model = load_package(path, options=CPU)
    write_artefact(path / "onboarding" / f"{KIND}.npz", *known_answers(model, made=date(2026, 1, 1)))
    assert share(path) == (1.0, Grade.RED)


@pytest.mark.parametrize("folder", sorted(BUNDLED.glob("*/*")), ids=lambda folder: folder.parent.name)
def test_no_bundled_package_is_graded_worse_for_its_weights(folder: Path) -> None:
    model = load_package(folder, options=CPU)
    assert {measured.grade for measured in weights_that_learned(model)} <= {Grade.GREEN}
