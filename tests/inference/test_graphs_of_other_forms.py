"""Several inputs, several outputs, half precision, weights in files of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from explain.references import close
from inference import nets
from whyray.base.errors import PackageError
from whyray.explain import explain
from whyray.inference import RuntimeOptions, load_package
from whyray.onboarding import check_package

CPU = RuntimeOptions(device="cpu", intra_op_threads=1)
AGE = {"value": 63.0, "meaning": "age in years: the median of the training set"}
SEX = {"value": [1.0, 0.0], "meaning": "sex as one of two: female"}


class WithPatient(nets.PlainCnn):
    """Age goes into the head beside the pooled features, sex scales the input, a mask hides part of it."""

    def forward(self, x: torch.Tensor, age: torch.Tensor, sex: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        maps = self.last(self.body(x * mask * (1 + sex[:, :1, None, None])))
        pooled = self.pool(maps).flatten(1)
        joined = torch.cat([pooled[:, :15], torch.tanh(age / 50)], dim=1)
        return self.linear(joined)


def _with_patient(tmp_path: Path, *, dynamic: bool = True, **others: object) -> tuple[torch.nn.Module, Path]:
    torch.manual_seed(4)
    net = WithPatient().eval()
    content = nets.manifest("plain")
    content["input"]["others"] = others  # type: ignore[index]
    folder = nets.write_manifest(tmp_path / "plain" / "1.0.0", content)
    x = nets.image("plain")
    names = ["x", "age", "sex", "mask"]
    given = (x, torch.ones(1, 1), torch.ones(1, 2), torch.ones(1, 1, 32, 32))
    axes = {name: {0: "batch"} for name in [*names, "logits"]} if dynamic else None
    torch.onnx.export(
        net, given, folder / "model.onnx", dynamo=False, input_names=names, output_names=["logits"], dynamic_axes=axes
    )
    return net, folder


def _right(net: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    count = len(x)
    with torch.no_grad():
        sex = torch.tensor([[1.0, 0.0]]).repeat(count, 1)
        return net(torch.from_numpy(x), torch.full((count, 1), 63.0), sex, torch.full((count, 1, 32, 32), 0.5)).numpy()


OTHERS = {"age": AGE, "sex": SEX, "mask": {"value": 0.5, "meaning": "half of everything"}}


@pytest.mark.parametrize("dynamic", [True, False])
def test_further_inputs_get_the_constants_that_the_manifest_names(tmp_path: Path, dynamic: bool) -> None:
    net, folder = _with_patient(tmp_path, dynamic=dynamic, **OTHERS)
    model = load_package(folder, options=CPU)
    x = np.concatenate([nets.image("plain", seed).numpy() for seed in range(3)])
    close(model.logits(x[:1]), _right(net, x[:1]))
    close(model.logits(x), _right(net, x))
    assert model.session.batchable(x) == dynamic


@pytest.mark.parametrize("method", ["grad-cam", "gradient", "integrated-gradients", "occlusion", "ablation-cam"])
def test_a_model_with_further_inputs_is_explained_as_any_other(tmp_path: Path, method: str) -> None:
    _, folder = _with_patient(tmp_path, **OTHERS)
    model, x = load_package(folder, options=CPU), nets.image("plain").numpy()
    assert model.gradients.measured_tier() == "T2", model.gradients.tier_reason
    assert any(heatmap.values.any() for heatmap in explain(model, x, target="all", method=method))


def test_gradients_of_a_model_with_further_inputs_are_those_at_the_constants(tmp_path: Path) -> None:
    net, folder = _with_patient(tmp_path, **OTHERS)
    model, x = load_package(folder, options=CPU), nets.image("plain").requires_grad_(True)
    answer = net(x, torch.full((1, 1), 63.0), torch.tensor([[1.0, 0.0]]), torch.full((1, 1, 32, 32), 0.5))
    (expected,) = torch.autograd.grad(answer[0, 1], x)
    heatmap = explain(model, x.detach().numpy(), target="two", method="gradient")
    close(heatmap.values, expected[0].abs().amax(dim=0).numpy())


def test_the_check_of_a_package_says_what_is_assumed_of_every_patient(tmp_path: Path) -> None:
    _, folder = _with_patient(tmp_path, **OTHERS)
    said = " ".join(finding.message for finding in check_package(folder, CPU))
    assert "'age' is 63.0 for every patient: age in years" in said


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({"age": AGE, "sex": SEX}, "takes mask beside 'x', and model.yaml gives no value"),
        ({**OTHERS, "weight": AGE}, "input.others names weight"),
        ({**OTHERS, "sex": {**SEX, "value": [1.0, 0.0, 0.0]}}, r"input.others.sex: .* does not fit the shape \[1, 2\]"),
    ],
)
def test_further_inputs_that_do_not_fit_are_refused_by_name(
    tmp_path: Path, others: dict[str, object], words: str
) -> None:
    _, folder = _with_patient(tmp_path, **others)
    with pytest.raises(PackageError, match=words):
        load_package(folder, options=CPU).predict(nets.image("plain").numpy())


def test_of_several_outputs_the_one_that_the_manifest_names_is_explained(tmp_path: Path) -> None:
    class TwoHeads(nets.PlainCnn):
        def __init__(self) -> None:
            super().__init__()
            self.other = torch.nn.Linear(16, 5)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
            pooled = self.pool(self.last(self.body(x))).flatten(1)
            return self.other(pooled), self.linear(pooled)

    torch.manual_seed(5)
    net = TwoHeads().eval()
    folder = nets.write_manifest(tmp_path / "plain" / "1.0.0", nets.manifest("plain"))
    x = nets.image("plain").requires_grad_(True)
    torch.onnx.export(
        net,
        (x,),
        folder / "model.onnx",
        dynamo=False,
        input_names=["x"],
        output_names=["others", "logits"],
        dynamic_axes={name: {0: "batch"} for name in ("x", "others", "logits")},
    )
    model = load_package(folder, options=CPU)
    answer = net(x)[1]
    close(model.logits(x.detach().numpy()), answer.detach().numpy())
    (expected,) = torch.autograd.grad(answer[0, 2], x)
    heatmap = explain(model, x.detach().numpy(), target="three", method="gradient")
    close(heatmap.values, expected[0].abs().amax(dim=0).numpy())


@pytest.mark.parametrize("name", ["residual", "flatten", "unet"])
def test_a_graph_in_half_precision_answers_as_the_one_in_single_up_to_its_digits(tmp_path: Path, name: str) -> None:
    model, x = load_package(nets.half_precision(tmp_path, name), options=CPU), nets.image(name).numpy()
    close(model.logits(x), nets.loaded(name).logits(x), 5e-3)
    assert model.logits(x).dtype == np.float32


@pytest.mark.parametrize(
    ("name", "method"),
    [
        *(("residual", method) for method in ("grad-cam", "ablation-cam", "gradient", "lrp", "occlusion")),
        *(("flatten", method) for method in ("grad-cam", "ablation-cam", "integrated-gradients")),
        *(("unet", method) for method in ("grad-cam", "gradient", "occlusion")),
    ],
)
def test_a_graph_in_half_precision_is_explained_as_the_one_in_single(tmp_path: Path, name: str, method: str) -> None:
    model, x = load_package(nets.half_precision(tmp_path, name), options=CPU), nets.image(name).numpy()
    assert model.gradients.measured_tier() == "T2", model.gradients.tier_reason
    parameters = {"window": 8, "stride": 8} if method == "occlusion" else {}
    heatmaps = explain(model, x, target="all", method=method, **parameters)
    expected = explain(nets.loaded(name), x, target="all", method=method, **parameters)
    largest = max(float(np.abs(heatmap.values).max()) for heatmap in expected)
    for one, other in zip(heatmaps, expected, strict=True):
        assert np.abs(one.values - other.values).max() <= 0.05 * largest


def _external(tmp_path: Path, location: str) -> Path:
    folder = nets.write_manifest(tmp_path / "plain" / "1.0.0", nets.manifest("plain"))
    proto = onnx.load(nets.packed("plain") / "model.onnx")
    onnx.save(proto, folder / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=64)
    if location != "weights.bin":
        proto = onnx.load(folder / "model.onnx", load_external_data=False)
        for initializer in proto.graph.initializer:
            for entry in initializer.external_data:
                if entry.key == "location":
                    entry.value = location
        (folder / "model.onnx").write_bytes(proto.SerializeToString())
    return folder


def test_weights_in_a_file_of_their_own_are_read_and_count_in_the_digest(tmp_path: Path) -> None:
    folder = _external(tmp_path, "weights.bin")
    model, x = load_package(folder, options=CPU), nets.image("plain").numpy()
    close(model.logits(x), nets.loaded("plain").logits(x))
    close(
        explain(model, x, target="one", method="gradient").values,
        explain(nets.loaded("plain"), x, target="one", method="gradient").values,
    )
    weights = bytearray((folder / "weights.bin").read_bytes())
    weights[0] ^= 1
    (folder / "weights.bin").write_bytes(bytes(weights))
    assert load_package(folder).package.digest != model.package.digest


@pytest.mark.parametrize("location", ["../../weights.bin", "/etc/hostname"])
def test_weights_outside_the_packages_folder_are_refused(tmp_path: Path, location: str) -> None:
    folder = _external(tmp_path, location)
    (tmp_path / "weights.bin").write_bytes((folder / "weights.bin").read_bytes())
    with pytest.raises(PackageError, match="outside the package folder"):
        load_package(folder, options=CPU).predict(nets.image("plain").numpy())


def test_weights_that_a_link_takes_outside_are_refused(tmp_path: Path) -> None:
    folder = _external(tmp_path, "weights.bin")
    (folder / "weights.bin").rename(tmp_path / "elsewhere.bin")
    (folder / "weights.bin").symlink_to(tmp_path / "elsewhere.bin")
    with pytest.raises(PackageError, match="leaves the package folder"):
        load_package(folder, options=CPU).predict(nets.image("plain").numpy())


def test_weights_that_are_missing_are_named(tmp_path: Path) -> None:
    folder = _external(tmp_path, "weights.bin")
    (folder / "weights.bin").unlink()
    with pytest.raises(PackageError, match=r"not a readable ONNX graph: .*weights\.bin"):
        load_package(folder, options=CPU).predict(nets.image("plain").numpy())


def test_a_format_that_is_too_new_is_refused_with_what_to_do(tmp_path: Path) -> None:
    folder = nets.pack(tmp_path, "plain")
    proto = onnx.load(folder / "model.onnx")
    proto.ir_version = onnx.IR_VERSION + 1
    onnx.save(proto, folder / "model.onnx")
    with pytest.raises(PackageError, match=rf"\(IR version\) {onnx.IR_VERSION} or older, found") as refused:
        _ = load_package(folder, options=CPU).network
    assert f"setting ir_version to {onnx.IR_VERSION}" in refused.value.advice


def test_operators_and_opsets_that_are_not_known_are_refused_with_what_to_do(tmp_path: Path) -> None:
    folder = nets.pack(tmp_path, "plain")
    proto = onnx.load(folder / "model.onnx")
    newer, own = onnx.ModelProto(), onnx.ModelProto()
    newer.CopyFrom(proto)
    newer.opset_import[0].version = 99
    own.CopyFrom(proto)
    own.opset_import.append(onnx.helper.make_opsetid("of.a.company", 1))
    for node in own.graph.node:
        if node.op_type == "Relu":
            node.op_type, node.domain = "FancyRelu", "of.a.company"
    for changed, words in ((newer, "older opset"), (own, "Operators of one's own are not run")):
        onnx.save(changed, folder / "model.onnx")
        errors = [finding for finding in check_package(folder, CPU) if finding.severity == "error"]
        assert len(errors) == 1
        assert words in errors[0].advice


def test_boxes_are_refused_with_what_a_detector_has_to_give(tmp_path: Path) -> None:
    class Boxes(nets.PlainCnn):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.body(x)).flatten(2).transpose(1, 2)[:, :, :3] - 0.1

    torch.manual_seed(0)
    folder = nets.pack(tmp_path, "plain", Boxes().eval())
    errors = [finding for finding in check_package(folder, CPU) if finding.severity == "error"]
    assert len(errors) == 1
    assert "the largest of all boxes' scores" in errors[0].advice


def test_a_batch_that_is_fixed_writes_nothing_to_standard_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    net = nets.make("plain")
    folder = nets.write_manifest(tmp_path / "plain" / "1.0.0", nets.manifest("plain"))
    nets.export(folder / "model.onnx", "plain", net, dynamic=False, modern=True)
    capfd.readouterr()
    assert any("one item at a time" in finding.message for finding in check_package(folder, CPU))
    assert "onnxruntime" not in capfd.readouterr().err
