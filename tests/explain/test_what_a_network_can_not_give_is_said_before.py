"""What a method can't do on a network is said by `why_not`, that is at configuration, and not by the job."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from torch import Tensor, nn

from inference import nets
from whyray.app.checked_config import registry_problems
from whyray.base.errors import ExplanationError
from whyray.config import read_config
from whyray.explain import explain, method_named, why_not
from whyray.inference import RuntimeOptions, load_package

CPU = RuntimeOptions(device="cpu", intra_op_threads=1)


class Swish(nets.PlainCnn):
    """A gate on each channel (squeeze and excitation) of features behind a swish: no ReLU on the way to the image."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 12, 3, stride=2, padding=1), nn.SiLU())
        self.last = nn.Sequential(nn.Conv2d(12, 16, 3, padding=1), nn.SiLU())
        self.gate = nn.Conv2d(16, 16, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.last(self.body(x))
        return self.linear(self.pool(maps * self.gate(self.pool(maps)).sigmoid()).flatten(1))


@pytest.mark.parametrize("name", ["plain", "residual", "dense", "pool", "vit", "swin"])
def test_lrp_is_refused_before_it_runs_where_it_has_no_rule_and_nowhere_else(name: str) -> None:
    model, x = nets.loaded(name), nets.image(name).numpy()
    refusal = why_not(method_named("lrp"), model)
    assert (refusal is None) == (name not in {"vit", "swin"})
    if refusal is None:
        explain(model, x, target="one", method="lrp")
        return
    assert "lrp has no rule for" in refusal.message
    with pytest.raises(ExplanationError, match="lrp has no rule for"):
        explain(model, x, target="one", method="lrp")


def test_a_network_of_swishes_and_gates_says_what_it_can_not_give(tmp_path: Path) -> None:
    model = load_package(nets.pack(tmp_path, "plain", Swish().eval()), options=CPU)
    for method, words in (
        ("lrp", "no rule for Mul of activations"),
        ("guided-backprop", "needs ReLUs"),
        ("expected-gradients", "needs reference images"),
    ):
        refusal = why_not(method_named(method), model)
        assert refusal is not None
        assert words in refusal.message
    assert why_not(method_named("integrated-gradients"), model) is None


def with_references(tmp_path: Path) -> Path:
    """A package whose reference images are an artefact of another name than the method looks for by itself."""
    folder = nets.pack(tmp_path, "plain", artefacts={"mine": "mine.npy"})
    np.save(folder / "mine.npy", nets.image("plain", 7).numpy())
    return folder


def test_reference_images_are_looked_for_by_the_name_that_is_asked_for(tmp_path: Path) -> None:
    model, x = load_package(with_references(tmp_path), options=CPU), nets.image("plain").numpy()
    expected = method_named("expected-gradients")
    asked = {"method": "expected-gradients", "target": "one", "samples": 8}
    assert why_not(expected, model, {"references": "mine"}) is None
    assert explain(model, x, references="mine", **asked).values.any()
    for given in ({}, {"references": "other"}):
        refusal = why_not(expected, model, given)
        assert refusal is not None
        assert f"no artefact '{given.get('references', 'references')}'" in refusal.message
        with pytest.raises(ExplanationError, match="needs reference images"):
            explain(model, x, **given, **asked)


def test_a_name_that_no_artefact_has_does_not_mean_the_images_from_onboarding(tmp_path: Path) -> None:
    folder = with_references(tmp_path)
    references = load_package(folder, options=CPU).package.references
    references.parent.mkdir()
    np.save(references, nets.image("plain", 8).numpy())
    model, expected = load_package(folder, options=CPU), method_named("expected-gradients")
    assert why_not(expected, model) is None
    assert why_not(expected, model, {"references": "mine"}) is None
    refusal = why_not(expected, model, {"references": "mien"})
    assert refusal is not None
    assert "no artefact 'mien'" in refusal.message
    asked = {"method": "expected-gradients", "target": "one", "samples": 8}
    with pytest.raises(ExplanationError, match="no artefact 'mien'"):
        explain(model, nets.image("plain").numpy(), references="mien", **asked)


@pytest.mark.parametrize("named", ["mine", "other", None])
def test_a_route_may_name_the_reference_images(tmp_path: Path, named: str | None) -> None:
    with_references(tmp_path / "packages")
    method = "expected-gradients" if named is None else {"expected-gradients": {"references": named}}
    route = {"name": "a", "when": {}, "run": nets.manifest("plain")["name"], "explain": [method]}
    text = yaml.safe_dump({"packages": {"folders": [str(tmp_path / "packages")]}, "routes": [route]})
    config, problems = read_config(text, folder=tmp_path)
    assert config is not None, problems
    said = [problem.message for problem in registry_problems(config)]
    assert (said == []) == (named == "mine")
    assert all(f"no artefact '{named or 'references'}'" in message for message in said)
