"""A wish that no package or method can meet is refused when the file is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field

from whyray.base.errors import NotFound
from whyray.config import PackageFacts, Problem, check_config, read_config
from whyray.config.check import Tier


class NoParameters(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RiseParameters(NoParameters):
    masks: int = Field(2000, ge=1)
    seed: int = 0


class ShiftParameters(NoParameters):
    autoencoder: str | None = None


@dataclass(frozen=True)
class Method:
    name: str
    tier: Tier
    kind: str = "attribution map"
    tasks: tuple[str, ...] = ()
    Parameters: type[BaseModel] = NoParameters
    deliverable: bool = True


METHODS = (
    Method("grad-cam", "T1"),
    Method("occlusion", "T0"),
    Method("rise", "T0", Parameters=RiseParameters),
    Method("integrated-gradients", "T2"),
    Method("seg-grad-cam", "T1", tasks=("segmentation",)),
    Method("similar-cases", "T1", kind="case-based"),
    Method("latent-shift", "T0", kind="counterfactual", Parameters=ShiftParameters),
    Method("guided-backprop", "T1", deliverable=False),
)
PACKAGES = {
    "cxr@1": PackageFacts(
        "cxr",
        "1.0.3",
        "T1",
        "multi-label",
        ("Effusion", "Mass"),
        "no verified gradient engine",
        prevalence={"Mass": 0.05},
    ),
    "opaque": PackageFacts("opaque", "2.0.0", "T0", "classification", ("Mass",)),
    "autoencoder": PackageFacts("cxr-autoencoder", "1.0.0", "T2", "autoencoder", ()),
}


def resolve(reference: str) -> PackageFacts:
    if reference not in PACKAGES:
        raise NotFound(f"no package '{reference}'", advice="did you mean 'cxr@1'?")
    return PACKAGES[reference]


def check(rest: str) -> tuple[Problem, ...]:
    text = "routes:\n  - name: a\n    when: {}\n" + "".join(f"    {line}\n" for line in rest.splitlines())
    config, problems = read_config(text, folder=Path("/"))
    assert problems == ()
    assert config is not None
    return check_config(config, resolve_package=resolve, methods=METHODS)


def test_what_can_be_met_has_no_problems() -> None:
    assert check("run: cxr@1\nexplain: [grad-cam, {rise: {masks: 10}}]\ntargets: [Mass]\nprevalence: {Mass: 2%}") == ()


@pytest.mark.parametrize(
    ("rest", "line", "words"),
    [
        ("run: cxr@9", 4, ["routes[0].run", "no package 'cxr@9'", "did you mean 'cxr@1'?"]),
        ("run: [cxr@1, cxr@9]", 4, ["routes[0].run[1]"]),
        ("run: cxr@1\nexplain: [grad-cam, ris]", 5, ["explain[1]", "no explanation method", "did you mean 'rise'?"]),
        (
            "run: cxr@1\nexplain:\n  - grad-cam\n  - integrated-gradients",
            7,
            ["needs a package of tier T2, cxr@1.0.3 has T1 (no verified gradient engine)", "'grad-cam' works"],
        ),
        ("run: cxr@1\nexplain: [seg-grad-cam]", 5, ["explains segmentation", "multi-label", "'grad-cam' works"]),
        ("run: opaque\nexplain: [grad-cam]", 5, ["has T0", "works"]),
        ("run: cxr@1\nexplain:\n  grad-cam: {}\n  rise: {mask: 3}", 7, ["no parameter 'mask'", "'masks'?"]),
        ("run: cxr@1\nexplain: [{rise: {masks: 0}}]", 5, ["explain[0].rise.masks", "found '0'"]),
        ("run: cxr@1\nexplain: [{grad-cam: {x: 0}}]", 5, ["it has no parameters"]),
        ("run: [cxr@1, autoencoder]", 4, ["routes[0].run[1]", "cxr-autoencoder@1.0.0 is an autoencoder", "companions"]),
        ("run: cxr@1\ntargets: [Mass, Effusio]", 5, ["targets[1]", "has no target", "did you mean 'Effusion'?"]),
        ("run: cxr@1\nprevalence:\n  Mas: 2%", 6, ["prevalence.Mas", "has no target 'Mas'", "did you mean 'Mass'?"]),
        (
            "run: cxr@1\nprevalence: {Mass: 2%, Effusion: 2%}",
            5,
            ["prevalence.Effusion", "does not state for which prevalence", "it states one for Mass"],
        ),
        ("run: opaque\nprevalence: {Mass: 2%}", 5, ["prevalence.Mass", "leave it out"]),
    ],
)  # fmt: skip
def test_a_wish_that_cannot_be_met_is_told_with_line_and_what_would_work(
    rest: str, line: int, words: list[str]
) -> None:
    (problem,) = check(rest)
    assert problem.line == line
    for word in words:
        assert word in str(problem)


def test_what_would_work_works_with_all_packages_of_the_route() -> None:
    problems = check("run: [cxr@1, opaque]\nexplain: [integrated-gradients]")
    assert len(problems) == 2
    assert all(problem.suggestion in ("'rise' works", "'occlusion' works") for problem in problems)


def test_a_method_that_fails_the_sanity_check_is_delivered_only_if_the_route_says_so():
    asked = "run: cxr@1\nexplain: [guided-backprop]"
    (problem,) = check(asked)
    assert "guided-backprop" in problem.message
    assert "research_methods" in (problem.suggestion or "")
    assert check(asked + "\nresearch_methods: true") == ()


def test_a_package_without_the_companion_is_refused_unless_the_route_names_one() -> None:
    def lacks(method: str, parameters: Mapping[str, object]) -> str | None:
        lacking = method == "latent-shift" and "autoencoder" not in parameters
        return "latent-shift needs a package as autoencoder" if lacking else None

    lacking = replace(PACKAGES["cxr@1"], lacks=lacks)
    for wish, problems in (("[latent-shift]", 1), ("[{latent-shift: {autoencoder: other@1}}]", 0)):
        text = f"routes:\n  - name: a\n    when: {{}}\n    run: cxr@1\n    explain: {wish}\n"
        config, _ = read_config(text, folder=Path("/"))
        assert config is not None
        reported = check_config(config, resolve_package=lambda _: lacking, methods=METHODS)
        assert len(reported) == problems
        assert all("autoencoder" in problem.message for problem in reported)
