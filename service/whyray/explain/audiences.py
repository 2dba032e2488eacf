"""Groups of methods under one name, for routes and the command line: all, or what suits one kind of reader.

After the guidelines of Salahuddin et al. 2022: explanations are chosen for who reads them, several complementary types
stand together, and none without its evaluation. Which map comes first is not a matter of taste: the one that did best
against boxes when the package was onboarded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from whyray.base.errors import PackageError
from whyray.explain.explain import why_not
from whyray.explain.local_evidence import NAME as LOCAL_EVIDENCE
from whyray.explain.registry import method_named, methods
from whyray.inference import Model
from whyray.packages.localisation_report import MethodLocalisation, best_first, why_none_is_best
from whyray.packages.randomisation_report import independent_of_weights, randomised_maps_in

AUDIENCES: dict[str, tuple[str, ...]] = {
    "radiologist": ("region-shares", "similar-cases", "latent-position", "narrative"),
    "scientist": (
        "grad-cam",
        "seg-grad-cam",
        "integrated-gradients",
        "occlusion",
        "concept-bottleneck",
        "tcav",
        "similar-cases",
        "prototypes",
        "latent-shift",
        "region-counterfactual",
        "latent-position",
        "region-shapley",
        "unit-report",
        "narrative",
    ),
    "administrator": ("latent-position",),
}
"""Readers, and the methods that suit them beside the package's preferred map: where a package can't give one, the
others stand."""
ALL = "all"
PREFERRED = "preferred"
"""The package's preferred map alone: what is explained by where nobody named a method."""
GROUPS = (ALL, PREFERRED, *AUDIENCES)
"""Names that stand for several methods."""


@dataclass(frozen=True)
class PreferredMap:
    """The map that a reader gets of a package, and why this one.

    `method` is None where the package can give none; `parameters` are those with which it was measured; `because` is
    one sentence.
    """

    method: str | None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    because: str = ""

    @property
    def of(self) -> str | None:
        """The map that others are told by: its own source, where it is made of another map."""
        return str(self.parameters["of"]) if "of" in self.parameters else self.method


def preferred_map(model: Model) -> PreferredMap:
    """The method that did best on boxes at onboarding; where none was measured, the package's own local evidence, else
    Grad-CAM.

    Best: most hits, then the largest AUPRC (see `best_first`), of those that may be delivered and that the package can
    be explained by. A method whose maps stayed the same at onboarding when the weights were randomised explains no
    model: it is passed over, and occlusion, which asks the model itself, stands in for Grad-CAM.
    """
    model.report()  # a package changed since is refused, whatever its report says of maps
    try:
        measured = model.localisation()
        unknown = "nothing was measured against boxes at onboarding"
    except PackageError as error:
        measured, unknown = {}, f"what was measured can't be read ({error.message})"
    independent = _independent_of_weights(model, measured)
    shown = [name for name in best_first(measured) if name not in independent and _able(name, model)]
    if shown:
        best = shown[0]
        because = f"{_rank(shown, measured, independent)}: {_worth(measured[best])}"
        return PreferredMap(best, measured[best].parameters, because)
    if measured:
        unknown = why_none_is_best(measured, independent)
    if _able(LOCAL_EVIDENCE, model) and LOCAL_EVIDENCE not in independent:
        return PreferredMap(LOCAL_EVIDENCE, {}, f"{unknown}; this is what the answer is the sum of")
    usual = _usual(model)
    if not _able(usual, model):
        return PreferredMap(None, {}, f"{unknown}, and the package has no feature maps")
    nobody_knows = f"{unknown}, so that nobody knows whether this map points at the right place"
    if usual not in independent:
        return PreferredMap(usual, {}, nobody_knows)
    unchanged = f"maps by {usual} were nearly the same with the model's weights shuffled"
    if not _able(_INSTEAD, model):
        return PreferredMap(None, {}, f"{unchanged}, and {_INSTEAD}, which could stand in for it, can't be made here")
    if _INSTEAD in independent:
        return PreferredMap(None, {}, f"{unchanged}, and so were those by {_INSTEAD}, which could stand in for it")
    return PreferredMap(_INSTEAD, {}, f"{unchanged}; {nobody_knows}")


def expanded(requests: Mapping[str, Mapping[str, Any]], model: Model) -> dict[str, dict[str, Any]]:
    """Wishes with each group replaced by those of its methods that this model can be explained by, in the order in
    which they are made.

    A method that is also wished for by name keeps its own parameters. Methods for research only are in no group.
    """
    wishes: dict[str, dict[str, Any]] = {}
    for name, parameters in requests.items():
        if name not in GROUPS:
            wishes.setdefault(name, {}).update(parameters)
            continue
        for method, preferred in _members(name, model).items():
            wishes[method] = {**preferred, **wishes.get(method, {})}
    return dict(sorted(wishes.items(), key=lambda request: method_named(request[0]).stage))


def _members(group: str, model: Model) -> dict[str, dict[str, Any]]:
    if group == PREFERRED:
        first = preferred_map(model)
        # a package that can give none is asked for the usual one all the same: its refusal says what is missing, or its
        # card that such maps are withheld, and why; a reader would else be told that no explanation was asked for
        return {first.method or _usual(model): dict(first.parameters)}
    able = [method.name for method in methods() if method.deliverable and why_not(method, model) is None]
    if group == ALL:
        return {name: {} for name in able}
    first = preferred_map(model)
    members: dict[str, dict[str, Any]] = {} if first.method is None else {first.method: dict(first.parameters)}
    for name in AUDIENCES[group]:
        if name in able:
            members.setdefault(name, _by_preferred_map(first, name, model))
    return members


def _by_preferred_map(first: PreferredMap, name: str, model: Model) -> dict[str, Any]:
    """What is told by a map is told by the one that the reader sees."""
    reads_map = "of" in method_named(name).Parameters.model_fields
    if not reads_map or first.of is None or "of" in model.manifest.methods.get(name, {}):
        return {}
    return {"of": first.of}


_INSTEAD = "occlusion"


def _usual(model: Model) -> str:
    return "seg-grad-cam" if model.task == "segmentation" else "grad-cam"


def _independent_of_weights(model: Model, measured: Mapping[str, MethodLocalisation]) -> frozenset[str]:
    """Methods whose maps are none of the model's, as onboarding measured it; none where that can't be read.

    Of those that `measured` has made of another's, as it made them.
    """
    try:
        known = randomised_maps_in(model.report(), model.package)
    except PackageError:
        return frozenset()
    of = {name: measured[name].parameters.get("of") for name in measured}
    names = {*known, *measured}
    return frozenset(name for name in names if independent_of_weights(known, name, of.get(name)))


def _able(name: str, model: Model) -> bool:
    known: Iterable[str] = (method.name for method in methods())
    return name in known and method_named(name).deliverable and why_not(method_named(name), model) is None


def _rank(shown: Sequence[str], measured: Mapping[str, MethodLocalisation], independent: frozenset[str]) -> str:
    """What the first of `shown`, the methods that were not passed over, did best of, and what was passed over."""
    if len(shown) > 1:
        rank = f"{shown[0]} did best of {len(shown)} methods"
    elif len(measured) == 1:
        rank = f"only {shown[0]} was measured"
    else:
        rank = f"of {len(measured)} methods that were measured only {shown[0]} counts"
    passed_over = [name for name in best_first(measured) if name in independent]
    return rank + (f" (maps by {', '.join(passed_over)} don't depend on the weights)" if passed_over else "")


def _worth(localisation: MethodLocalisation) -> str:
    blind = max(localisation.blind_hits.values())
    doubt = (
        ""
        if localisation.hits > blind
        else "; it has not shown that it points any better than a map that knows nothing"
    )
    return f"{localisation.words}{doubt}"
