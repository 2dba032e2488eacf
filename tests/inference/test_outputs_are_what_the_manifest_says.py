"""An activation in the graph and one in model.yaml: applied once, refused twice, and explained before it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from explain.references import close
from inference.endings import SIZE, Z, answer, ending_of, image, node, write
from whyray.base.errors import ModelOutputError, PackageError
from whyray.explain import explain
from whyray.inference import Model, RuntimeOptions, load_package
from whyray.onboarding import check_package, checked_package, onboard

CPU = RuntimeOptions(device="cpu", intra_op_threads=1)


def loaded(folder: Path) -> Model:
    return load_package(folder, options=CPU)


def odds(probability: np.ndarray) -> np.ndarray:
    return np.log(probability / (1 - probability))


S = node("Sigmoid", [Z], "s")
P = node("Softmax", [Z], "p", axis=1)
MOVED_SIGMOIDS = {
    "squeeze": ending_of(S, node("Unsqueeze", ["s", "axes"], "u"), node("Squeeze", ["u", "axes"], "logits"), axes=[2]),
    "reshape": ending_of(S, node("Reshape", ["s", "shape"], "logits"), shape=[-1, 3]),
    "flatten": ending_of(S, node("Flatten", ["s"], "logits")),
    "identity": ending_of(S, node("Identity", ["s"], "logits")),
    "cast": ending_of(
        S, node("Cast", ["s"], "d", to=TensorProto.DOUBLE), node("Cast", ["d"], "logits", to=TensorProto.FLOAT)
    ),
    "gather": ending_of(S, node("Gather", ["s", "order"], "logits", axis=1), order=[2, 0, 1]),
    "slice": ending_of(
        S,
        node("Slice", ["s", "from", "to", "axes", "steps"], "logits"),
        **{"from": [2], "to": [-9], "axes": [1]},
        steps=[-1],
    ),
    "transpose": ending_of(
        S,
        node("Unsqueeze", ["s", "axes"], "u"),
        node("Transpose", ["u"], "v", perm=[0, 2, 1]),
        node("Flatten", ["v"], "logits"),
        axes=[2],
    ),
    "concat of heads": ending_of(
        helper.make_node("Split", [Z, "sizes"], ["a", "b"], axis=1),
        node("Sigmoid", ["a"], "sa"),
        node("Sigmoid", ["b"], "sb"),
        node("Concat", ["sb", "sa"], "logits", axis=1),
        sizes=[1, 2],
    ),
    "split behind it": ending_of(
        S,
        helper.make_node("Split", ["s", "sizes"], ["a", "b"], axis=1),
        node("Concat", ["b", "a"], "logits", axis=1),
        sizes=[1, 2],
    ),
    "clip off 0 and 1": ending_of(S, node("Clip", ["s", "low", "high"], "logits"), low=1e-6, high=1 - 1e-6),
    "written out": ending_of(
        node("Neg", [Z], "n"),
        node("Exp", ["n"], "e"),
        node("Add", ["e", "one"], "f"),
        node("Div", ["one", "f"], "logits"),
        one=1.0,
    ),
    "reciprocal": ending_of(
        node("Neg", [Z], "n"),
        node("Exp", ["n"], "e"),
        node("Add", ["one", "e"], "f"),
        node("Reciprocal", ["f"], "logits"),
        one=1.0,
    ),
    "one minus it": ending_of(S, node("Sub", ["one", "s"], "logits"), one=1.0),
    "one plus minus it": ending_of(S, node("Neg", ["s"], "n"), node("Add", ["n", "one"], "logits"), one=1.0),
    "exp of its logarithm": ending_of(S, node("Log", ["s"], "l"), node("Exp", ["l"], "logits")),
    "largest of two": ending_of(
        S, node("Gather", ["s", "order"], "g", axis=1), node("Max", ["s", "g"], "logits"), order=[2, 0, 1]
    ),
}


@pytest.mark.parametrize("name", MOVED_SIGMOIDS)
def test_a_sigmoid_behind_which_only_places_change_is_not_applied_again(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path, MOVED_SIGMOIDS[name], activation="sigmoid")
    with pytest.raises(PackageError, match=r"already ends in sigmoid .*applies sigmoid to it again") as refused:
        loaded(folder).predict(image())
    assert "output.activation to none" in refused.value.advice


@pytest.mark.parametrize("name", MOVED_SIGMOIDS)
def test_the_answer_is_the_graphs_and_its_log_odds_are_explained(tmp_path: Path, name: str) -> None:
    model = loaded(write(tmp_path, MOVED_SIGMOIDS[name], activation="none"))
    x = image()
    expected = answer(model.package.folder, x)
    close(model.predict(x), expected)
    close(model.logits(x), odds(expected.astype(np.float64)), 1e-3)
    assert model.network.form.activation == "sigmoid"
    heatmap = explain(model, x, target="t1", method="grad-cam")
    assert heatmap.unit == "logit"
    two = np.concatenate([x, image(2)])
    close(model.predict(two), np.concatenate([model.predict(image[None]) for image in two]))


def test_two_columns_of_one_sigmoid_are_explained_as_opposite_logits(tmp_path: Path) -> None:
    ending = ending_of(S, node("Sub", ["one", "s"], "m"), node("Concat", ["m", "s"], "logits", axis=1), one=1.0)
    folder = write(tmp_path, ending, activation="none", classes=1, targets=2, task="classification")
    model, x = loaded(folder), image()
    z = answer(folder, x, Z)
    close(model.logits(x), np.concatenate([-z, z], axis=1))
    close(model.predict(x), answer(folder, x))
    assert model.network.head is not None
    one, other = explain(model, x, target="all", method="occlusion", window=4, stride=4)
    assert one.unit == other.unit == "logit"
    close(one.values, -other.values)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_two_columns_of_one_sigmoid_take_no_further_activation(tmp_path: Path, activation: str) -> None:
    ending = ending_of(S, node("Sub", ["one", "s"], "m"), node("Concat", ["m", "s"], "logits", axis=1), one=1.0)
    folder = write(tmp_path, ending, activation=activation, classes=1, targets=2, task="classification")
    with pytest.raises(PackageError, match=f"already ends in sigmoid .*applies {activation}"):
        loaded(folder).predict(image())


SOFTMAXES = {
    "as it is": (ending_of(node("Softmax", [Z], "logits", axis=1)), 3),
    "last axis": (ending_of(node("Softmax", [Z], "logits", axis=-1)), 3),
    "reshape": (ending_of(P, node("Reshape", ["p", "shape"], "logits"), shape=[-1, 3]), 3),
    "other order": (ending_of(P, node("Gather", ["p", "order"], "logits", axis=1), order=[2, 0, 1]), 3),
    "written out": (
        ending_of(
            node("ReduceMax", [Z], "most", axes=[1], keepdims=1),
            node("Sub", [Z, "most"], "d"),
            node("Exp", ["d"], "e"),
            node("ReduceSum", ["e", "axes"], "all", keepdims=1),
            node("Div", ["e", "all"], "logits"),
            axes=[1],
        ),
        3,
    ),
    "exp of log softmax": (ending_of(node("LogSoftmax", [Z], "l", axis=1), node("Exp", ["l"], "logits")), 3),
}


@pytest.mark.parametrize("name", SOFTMAXES)
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_a_softmax_in_the_graph_takes_no_further_activation(tmp_path: Path, name: str, activation: str) -> None:
    ending, classes = SOFTMAXES[name]
    folder = write(tmp_path, ending, activation=activation, classes=classes, task="classification")
    with pytest.raises(PackageError, match=f"already ends in softmax .*applies {activation}"):
        loaded(folder).predict(image())


@pytest.mark.parametrize("name", SOFTMAXES)
def test_what_goes_into_a_softmax_is_explained(tmp_path: Path, name: str) -> None:
    ending, classes = SOFTMAXES[name]
    model, x = loaded(write(tmp_path, ending, activation="none", classes=classes, task="classification")), image()
    expected = answer(model.package.folder, x)
    close(model.predict(x), expected)
    assert model.network.form.activation == "softmax"
    logits = model.logits(x)
    close(logits - logits.mean(), np.log(expected) - np.log(expected).mean(), 1e-3)
    assert explain(model, x, target="t2", method="grad-cam").unit == "logit"


def test_one_of_two_classes_of_a_softmax_is_explained_by_the_difference_of_their_logits(tmp_path: Path) -> None:
    ending = ending_of(P, node("Gather", ["p", "second"], "logits", axis=1), second=[1])
    folder = write(tmp_path, ending, activation="none", classes=2, targets=1)
    model, x = loaded(folder), image()
    z = answer(folder, x, Z)
    close(model.logits(x), z[:, 1:] - z[:, :1])
    close(model.predict(x), answer(folder, x))
    assert model.network.form.activation == "sigmoid"


def test_some_of_many_classes_of_a_softmax_are_explained_as_the_probabilities_that_they_are(tmp_path: Path) -> None:
    ending = ending_of(P, node("Gather", ["p", "some"], "logits", axis=1), some=[1, 2])
    folder = write(tmp_path, ending, activation="none", classes=4, targets=2, task="classification")
    model, x = loaded(folder), image()
    close(model.predict(x), answer(folder, x))
    close(model.logits(x), answer(folder, x))
    assert explain(model, x, target="t0", method="grad-cam").unit == "probability"
    assert explain(model, x, target="t0", method="gradient").unit == "probability per unit of input"


def test_softmax_of_log_softmax_is_softmax_and_allowed(tmp_path: Path) -> None:
    ending = ending_of(node("LogSoftmax", [Z], "logits", axis=1))
    model, x = loaded(write(tmp_path, ending, activation="softmax", task="classification")), image()
    close(model.predict(x), np.exp(answer(model.package.folder, x)))
    close(model.logits(x), answer(model.package.folder, x, Z))


@pytest.mark.parametrize(
    "ending",
    [
        ending_of(node("LogSoftmax", [Z], "logits", axis=1)),
        ending_of(P, node("Log", ["p"], "logits")),
        ending_of(S, node("Log", ["s"], "logits")),
        ending_of(node("Neg", [Z], "n"), node("Softplus", ["n"], "q"), node("Neg", ["q"], "logits")),
    ],
    ids=["log softmax", "log of softmax", "log of sigmoid", "minus softplus of minus"],
)
def test_a_sigmoid_over_logarithms_of_probabilities_is_refused(
    tmp_path: Path, ending: tuple[list[object], dict[str, object]]
) -> None:
    folder = write(tmp_path, ending, activation="sigmoid", task="multi-label")  # type: ignore[arg-type]
    with pytest.raises(PackageError, match=r"ends in the logarithm of s.*applies sigmoid"):
        loaded(folder).predict(image())


BOUNDED = {
    "hard sigmoid": ending_of(node("HardSigmoid", [Z], "logits")),
    "clip": ending_of(node("Clip", [Z, "low", "high"], "logits"), low=0.0, high=1.0),
    "half of tanh and one": ending_of(
        node("Tanh", [Z], "t"), node("Add", ["t", "one"], "u"), node("Mul", ["u", "half"], "logits"), one=1.0, half=0.5
    ),
    "mean of two sigmoids": ending_of(
        S, node("HardSigmoid", [Z], "h"), node("Add", ["s", "h"], "u"), node("Mul", ["u", "half"], "logits"), half=0.5
    ),
    "noisy or": ending_of(
        S, node("Sub", ["one", "s"], "m"), node("Mul", ["m", "m"], "mm"), node("Sub", ["one", "mm"], "logits"), one=1.0
    ),
    "quantised and back": ending_of(
        S, node("QuantizeLinear", ["s", "step"], "q"), node("DequantizeLinear", ["q", "step"], "logits"), step=1 / 255
    ),
    "masked": ending_of(node("Less", [Z, "none"], "low"), S, node("Where", ["low", "none", "s"], "logits"), none=0.0),
    "power": ending_of(S, node("Pow", ["s", "two"], "logits"), two=2.0),
    "classes summed by a matrix": ending_of(
        P, node("MatMul", ["p", "groups"], "logits"), groups=[[1.0, 0, 0], [0, 1.0, 1.0], [0, 1.0, 0]]
    ),
}


@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_an_output_that_cannot_leave_0_to_1_takes_no_activation(tmp_path: Path, name: str, activation: str) -> None:
    folder = write(tmp_path, BOUNDED[name], activation=activation, task="classification")
    with pytest.raises(PackageError, match=f"is a probability already.*applies {activation} to it again"):
        loaded(folder).predict(image())


@pytest.mark.parametrize("name", BOUNDED)
def test_an_output_that_cannot_leave_0_to_1_is_told_to_be_a_probability(tmp_path: Path, name: str) -> None:
    model, x = loaded(write(tmp_path, BOUNDED[name], activation="none")), image()
    close(model.predict(x), answer(model.package.folder, x))
    assert explain(model, x, target="t0", method="occlusion", window=8, stride=8).unit == "probability"


@pytest.mark.parametrize("kind", ["Softplus", "Relu", "Exp", "Abs"])
def test_a_sigmoid_over_what_is_never_below_zero_is_refused(tmp_path: Path, kind: str) -> None:
    folder = write(tmp_path, ending_of(node(kind, [Z], "logits")), activation="sigmoid")
    with pytest.raises(PackageError, match=r"never below 0, so that the sigmoid .* is never below 0\.5"):
        loaded(folder).predict(image())


@pytest.mark.parametrize("kind", ["Softplus", "Relu", "LeakyRelu"])
def test_a_softmax_over_what_bounds_one_side_is_an_answer(tmp_path: Path, kind: str) -> None:
    ending = ending_of(node(kind, [Z], "logits"))
    model, x = loaded(write(tmp_path, ending, activation="softmax", task="classification")), image()
    powers = np.exp(answer(model.package.folder, x))
    close(model.predict(x), powers / powers.sum())


def test_labels_that_do_not_exclude_each_other_share_no_probability_by_a_softmax_of_the_graph(tmp_path: Path) -> None:
    folder = write(tmp_path, SOFTMAXES["as it is"][0], activation="none", task="multi-label")
    with pytest.raises(PackageError, match="shares out one probability among all targets") as refused:
        loaded(folder).predict(image())
    assert "task to classification" in refused.value.advice


PAIRS = {
    "a pair a label": (
        6,
        ending_of(
            node("Reshape", [Z, "shape"], "r"),
            node("Softmax", ["r"], "p", axis=2),
            node("Gather", ["p", "one"], "logits", axis=2),
            shape=[-1, 3, 2],
            one=1,
        ),
    ),
    "pairs along the first axis": (
        6,
        ending_of(
            node("Reshape", [Z, "shape"], "r"),
            node("Softmax", ["r"], "p", axis=1),
            node("Gather", ["p", "one"], "logits", axis=1),
            shape=[-1, 2, 3],
            one=1,
        ),
    ),
    "sliced and squeezed": (
        6,
        ending_of(
            node("Reshape", [Z, "shape"], "r"),
            node("Softmax", ["r"], "p", axis=2),
            node("Slice", ["p", "from", "to", "axes"], "q"),
            node("Squeeze", ["q", "axes"], "logits"),
            shape=[-1, 3, 2],
            axes=[2],
            **{"from": [1], "to": [2]},
        ),
    ),
    "two labels": (
        4,
        ending_of(
            node("Reshape", [Z, "shape"], "r"),
            node("Softmax", ["r"], "p", axis=2),
            node("Gather", ["p", "one"], "logits", axis=2),
            shape=[-1, 2, 2],
            one=1,
        ),
    ),
    "heads of two classes": (
        6,
        ending_of(
            helper.make_node("Split", [Z, "sizes"], ["a", "b", "c"], axis=1),
            *(
                made
                for head in "abc"
                for made in (
                    node("Softmax", [head], f"p{head}", axis=1),
                    node("Slice", [f"p{head}", "from", "to", "axes"], f"q{head}"),
                )
            ),
            node("Concat", ["qa", "qb", "qc"], "logits", axis=1),
            sizes=[2, 2, 2],
            axes=[1],
            **{"from": [1], "to": [2]},
        ),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_softmax_over_absent_and_present_of_each_label_is_a_sigmoid_of_their_difference(
    tmp_path: Path, name: str
) -> None:
    classes, ending = PAIRS[name]
    folder = write(tmp_path, ending, activation="none", classes=classes, targets=classes // 2, task="multi-label")
    model, x = loaded(folder), image()
    close(model.predict(x), answer(folder, x))
    heatmap = explain(model, x, target="t0", method="occlusion", window=8, stride=8)
    assert heatmap.unit == "logit"


def test_a_softmax_of_three_for_each_label_shares_out_nothing_among_labels(tmp_path: Path) -> None:
    ending = ending_of(
        node("Reshape", [Z, "shape"], "r"),
        node("Softmax", ["r"], "p", axis=2),
        node("Gather", ["p", "one"], "logits", axis=2),
        shape=[-1, 3, 3],
        one=1,
    )
    folder = write(tmp_path, ending, activation="none", classes=9, targets=3, task="multi-label")
    model, x = loaded(folder), image()
    close(model.predict(x), answer(folder, x))


SHARED = {
    "none sliced off": (
        4,
        3,
        ending_of(P, node("Slice", ["p", "from", "to", "axes"], "logits"), axes=[1], **{"from": [1], "to": [4]}),
    ),
    "two targets": (2, 2, ending_of(node("Softmax", [Z], "logits", axis=1))),
    "a thousand classes": (1000, 1000, ending_of(node("Softmax", [Z], "logits", axis=1))),
    "of pairs both sides": (
        6,
        6,
        ending_of(
            node("Reshape", [Z, "pairs"], "r"),
            node("Softmax", ["r"], "p", axis=2),
            node("Reshape", ["p", "flat"], "logits"),
            pairs=[-1, 3, 2],
            flat=[-1, 6],
        ),
    ),
}


@pytest.mark.parametrize("name", SHARED)
def test_labels_out_of_one_softmax_are_refused_also_where_it_has_a_class_more(tmp_path: Path, name: str) -> None:
    classes, targets, ending = SHARED[name]
    folder = write(tmp_path, ending, activation="none", classes=classes, targets=targets, task="multi-label")
    with pytest.raises(PackageError, match="shares out one probability"):
        loaded(folder).predict(image())


def test_a_softmax_over_one_target_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, ending_of(node("Identity", [Z], "logits")), activation="softmax", classes=1)
    with pytest.raises(PackageError, match="softmax over one target is 1 for every image"):
        loaded(folder).predict(image())


def hidden(*inner: object, **constants: object) -> tuple[list[object], dict[str, object]]:
    """An ending within a branch, where no operator of the graph itself tells what it is."""
    branch = helper.make_graph(
        list(inner), "branch", [], [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)]
    )
    other = helper.make_graph(
        [node("Identity", [Z], "unused")],
        "other",
        [],
        [helper.make_tensor_value_info("unused", TensorProto.FLOAT, None)],
    )
    return ending_of(
        node("ReduceMax", [Z], "top", keepdims=0),
        node("Less", ["top", "huge"], "always"),
        node("If", ["always"], "logits", then_branch=branch, else_branch=other),
        huge=1e30,
        **constants,
    )  # type: ignore[return-value]


@pytest.mark.parametrize("kind", ["Sigmoid", "Softmax"])
def test_what_the_operators_hide_the_answers_tell(tmp_path: Path, kind: str) -> None:
    folder = write(tmp_path, hidden(node(kind, [Z], "inner")), activation="sigmoid")  # type: ignore[arg-type]
    with pytest.raises(PackageError, match=r"images that drive the model hard.*probabilities already"):
        loaded(folder).predict(image())


def test_logits_that_the_operators_hide_are_answered(tmp_path: Path) -> None:
    folder = write(tmp_path, hidden(node("Identity", [Z], "inner")), activation="sigmoid")  # type: ignore[arg-type]
    model, x = loaded(folder), image()
    close(model.predict(x), 1 / (1 + np.exp(-answer(folder, x))))
    assert model.session.output_doubt == ""


def test_answers_that_may_be_probabilities_are_a_warning_of_the_check(tmp_path: Path) -> None:
    narrow = hidden(
        node("Tanh", [Z], "t"),
        node("Mul", ["t", "tenth"], "u"),
        node("Add", ["u", "half"], "inner"),
        tenth=0.1,
        half=0.5,
    )
    folder = write(tmp_path, narrow, activation="sigmoid")  # type: ignore[arg-type]
    findings = [finding for finding in check_package(folder) if "may be probabilities" in finding.message]
    assert [finding.severity for finding in findings] == ["warning"]


DECISIONS = {
    "class number": (ending_of(node("ArgMax", [Z], "logits", axis=1)), TensorProto.INT64, 1),
    "class number as a float": (
        ending_of(node("ArgMax", [Z], "a", axis=1), node("Cast", ["a"], "logits", to=TensorProto.FLOAT)),
        TensorProto.FLOAT,
        1,
    ),
    "over a threshold": (
        ending_of(
            S, node("Greater", ["s", "half"], "g"), node("Cast", ["g"], "logits", to=TensorProto.FLOAT), half=0.5
        ),
        TensorProto.FLOAT,
        3,
    ),
    "whole numbers": (ending_of(S, node("Cast", ["s"], "logits", to=TensorProto.INT32)), TensorProto.INT32, 3),
    "rounded": (ending_of(S, node("Round", ["s"], "logits")), TensorProto.FLOAT, 3),
    "best first": (
        ending_of(helper.make_node("TopK", [Z, "three"], ["logits", "which"], axis=1), three=[3]),
        TensorProto.FLOAT,
        3,
    ),
}


@pytest.mark.parametrize("name", DECISIONS)
@pytest.mark.parametrize("activation", ["none", "sigmoid"])
def test_decisions_are_refused_as_no_scores(tmp_path: Path, name: str, activation: str) -> None:
    ending, kind, targets = DECISIONS[name]
    folder = write(tmp_path, ending, activation=activation, targets=targets, kind=kind)
    with pytest.raises(PackageError, match="decisions, and no scores") as refused:
        loaded(folder).predict(image())
    assert "output.name" in refused.value.advice


def test_a_classification_whose_answers_are_no_probabilities_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, ending_of(node("Identity", [Z], "logits")), activation="none", task="classification")
    with pytest.raises(ModelOutputError, match=r"expected probabilities, since output\.activation is none"):
        loaded(folder).predict(100 * image())


def test_a_regression_is_explained_in_units_of_its_value(tmp_path: Path) -> None:
    folder = write(tmp_path, ending_of(node("Identity", [Z], "logits")), activation="none", task="regression")
    model, x = loaded(folder), image()
    close(model.predict(x), answer(folder, x))
    assert explain(model, x, target="t0", method="gradient").unit == "value per unit of input"


def test_a_softmax_over_another_axis_than_the_classes_is_no_softmax_of_classes(tmp_path: Path) -> None:
    ending = ending_of(
        node("Mul", ["maps", "many"], "scores"),
        node("Slice", ["scores", "first", "third", "axes"], "picked"),
        node("Softmax", ["picked"], "logits", axis=-1),
        many=5.0,
        first=[0],
        third=[3],
        axes=[1],
    )
    folder = write(tmp_path, ending, activation="none", task="segmentation")
    model, x = loaded(folder), image()
    close(model.predict(x), answer(folder, x))
    assert model.network.form.activation == "none"


def test_a_segmentation_with_softmax_in_the_graph_is_answered_class_by_class(tmp_path: Path) -> None:
    ending = ending_of(
        node("Slice", ["convolved", "first", "third", "axes"], "picked"),
        node("Softmax", ["picked"], "p", axis=1),
        node("Identity", ["p"], "logits"),
        first=[0],
        third=[3],
        axes=[1],
    )
    model, x = loaded(write(tmp_path, ending, activation="none", task="segmentation")), image()
    close(model.predict(x), answer(model.package.folder, x))
    assert model.network.form.activation == "softmax"
    close(model.logits(x), answer(model.package.folder, x, "picked"))


def test_concepts_that_are_probabilities_already_take_no_sigmoid(tmp_path: Path) -> None:
    ending = ending_of(
        S, node("Sub", ["s", "half"], "d"), node("MatMul", ["d", "head"], "logits"), half=0.5, head=4 * np.eye(3)
    )
    names = [{"name": name} for name in ("a", "b", "c")]
    folder = write(tmp_path, ending, activation="sigmoid", concepts={"output": "s", "names": names})
    with pytest.raises(PackageError, match="concepts 's' already ends in sigmoid") as refused:
        loaded(folder).predict(image())
    assert "concepts.activation to none" in refused.value.advice
    folder = write(
        tmp_path, ending, activation="sigmoid", concepts={"output": "s", "activation": "none", "names": names}
    )
    assert loaded(folder).predict(image()).shape == (1, 3)


def test_check_explain_and_onboard_refuse_with_one_message(tmp_path: Path) -> None:
    folder = write(tmp_path, SOFTMAXES["as it is"][0], activation="softmax", task="classification")
    x = image()
    said = []
    for way in (
        lambda: loaded(folder).predict(x),
        lambda: explain(loaded(folder), x, target="t0", method="occlusion"),
        lambda: explain(loaded(folder), x, target="all", method="grad-cam"),
        lambda: onboard(loaded(folder), [x]),
        lambda: loaded(folder).tier,
    ):
        with pytest.raises(PackageError) as refused:
            way()
        said.append((refused.value.message, refused.value.advice))
    said += [(finding.message, finding.advice) for finding in check_package(folder) if finding.severity == "error"]
    assert len(said) == 6
    assert len(set(said)) == 1
    assert not (folder / "onboarding").exists()


def test_the_check_tells_what_is_explained_and_of_what(tmp_path: Path) -> None:
    told = checked_package(
        write(tmp_path, SOFTMAXES["as it is"][0], activation="none", task="classification")
    ).explained
    assert told == (
        "explained: output 'logits' before softmax; explanations are parts of the logit",
        f"class activation maps: of 'maps' (chosen), grid {SIZE // 2} × {SIZE // 2}, 6 channels",
    )


def test_a_sigmoid_within_a_function_of_the_models_own_is_seen(tmp_path: Path) -> None:
    folder = write(tmp_path, ending_of(node("Identity", [Z], "logits")), activation="sigmoid")
    proto = onnx.load(folder / "model.onnx")
    own = helper.make_function(
        "own", "Answer", ["a"], ["b"], [node("Sigmoid", ["a"], "c"), node("Identity", ["c"], "b")], proto.opset_import
    )
    proto.graph.node[-1].CopyFrom(helper.make_node("Answer", [Z], ["logits"], domain="own"))
    proto.functions.append(own)
    proto.opset_import.append(helper.make_opsetid("own", 1))
    onnx.save(proto, folder / "model.onnx")
    with pytest.raises(PackageError, match="already ends in sigmoid"):
        loaded(folder).predict(image())


def test_per_cent_are_no_probabilities(tmp_path: Path) -> None:
    per_cent = ending_of(S, node("Mul", ["s", "hundred"], "logits"), hundred=100.0)
    with pytest.raises(ModelOutputError, match="expected probabilities"):
        loaded(write(tmp_path, per_cent, activation="none")).predict(image())
    with pytest.raises(PackageError, match="never below 0"):
        loaded(write(tmp_path, per_cent, activation="sigmoid")).predict(image())
