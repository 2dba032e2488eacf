"""What a configuration asks of packages and methods, checked against those that there are, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pydantic import BaseModel, ValidationError

from whyray.base.errors import WhyRayError
from whyray.config.model import Config
from whyray.config.problems import Place, Problem, did_you_mean, nearest
from whyray.config.routes import EXPLANATION_GROUPS, MethodRequest, Route

Tier = Literal["T0", "T1", "T2"]
"""What a method needs of a model; as `whyray.explain.Tier`, which this room must not import."""

COMPANIONS = frozenset({"autoencoder", "captioner"})
"""Tasks of packages that no route runs: as `whyray.packages.manifest.WITHOUT_TARGETS`, which is out of reach here."""


class MethodFacts(Protocol):
    """What the check asks of an explanation method; `whyray.explain.methods()` gives such objects."""

    @property
    def name(self) -> str:
        """Kebab-case name."""
        ...

    @property
    def tier(self) -> Tier:
        """The least tier of a package that it can explain."""
        ...

    @property
    def kind(self) -> str:
        """Its type of interpretability."""
        ...

    @property
    def tasks(self) -> Sequence[str]:
        """Tasks that it can explain; empty for all."""
        ...

    @property
    def deliverable(self) -> bool:
        """Whether its results may leave for a PACS without the route's say-so."""
        ...

    @property
    def Parameters(self) -> type[BaseModel]:  # noqa: N802 - the methods' own name for it
        """The pydantic class of its parameters."""
        ...


@dataclass(frozen=True)
class PackageFacts:
    """What the check asks of a package. `tier_reason` says why it has no more than this tier."""

    name: str
    version: str
    tier: Tier
    task: str
    targets: tuple[str, ...]
    tier_reason: str | None = None
    lacks: Callable[[str, Mapping[str, object]], str | None] = lambda _method, _parameters: None
    """What it lacks (an artefact, a companion) for the method of that name with these parameters of a route."""
    prevalence: Mapping[str, float] = field(default_factory=dict)
    """Targets whose prevalence the package states, and so lets a route set; 0..1."""

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


def check_config(
    config: Config, *, resolve_package: Callable[[str], PackageFacts], methods: Sequence[MethodFacts]
) -> tuple[Problem, ...]:
    """Everything that no package or method that there is can fulfil, with the lines of the file.

    Parameters
    ----------
    resolve_package
        'NAME' or 'NAME@PREFIX' → the facts of the package that is meant. Any WhyRayError that it raises is told as the
        problem of the route, its advice as the suggestion. Called once for each reference.
    methods
        All methods that there are.
    """
    by_name = {method.name: method for method in methods}
    packages: dict[str, PackageFacts | WhyRayError] = {}
    problems: list[Problem] = []
    for index, route in enumerate(config.routes):
        resolved = []
        for position, reference in enumerate(route.run):
            text = str(reference)
            if text not in packages:
                packages[text] = _resolved(resolve_package, text)
            fact = packages[text]
            if isinstance(fact, PackageFacts) and fact.task in COMPANIONS:
                place = ("routes", index, "run", position)
                words = f"{fact} is an {fact.task}: it stands beside other packages and answers nothing itself"
                problems.append(Problem(place, words, None, "name it under companions in a package's model.yaml"))
            elif isinstance(fact, PackageFacts):
                resolved.append(fact)
            else:
                place = ("routes", index, "run", position)
                problems.append(Problem(place, fact.message, None, fact.advice))
        problems += _of_route(route, ("routes", index), resolved, by_name)
    placed = (
        Problem(config.written(problem.place), problem.message, config.line(problem.place), problem.suggestion)
        for problem in problems
    )
    return tuple(sorted(placed, key=lambda problem: problem.line or 0))


def _resolved(resolve: Callable[[str], PackageFacts], reference: str) -> PackageFacts | WhyRayError:
    try:
        return resolve(reference)
    except WhyRayError as error:
        return error


def _of_route(
    route: Route, place: Place, packages: Sequence[PackageFacts], methods: Mapping[str, MethodFacts]
) -> Iterator[Problem]:
    for position, requested in enumerate(route.explain):
        at: Place = (*place, "explain", position)
        if requested.name in EXPLANATION_GROUPS:
            if requested.parameters:
                yield Problem(
                    at, f"'{requested.name}' stands for several methods and has no parameters of its own", None, None
                )
            continue
        method = methods.get(requested.name)
        if method is None:
            suggestion = did_you_mean(requested.name, sorted(methods), what="methods are")
            yield Problem(at, f"no explanation method has the name '{requested.name}'", None, suggestion)
            continue
        if not method.deliverable and not route.research_methods:
            known = f"'{requested.name}' is known to fail the sanity check (Adebayo 2018), so it is not delivered"
            yield Problem(at, known, None, "take another method, or set research_methods: true in this route")
        for package in packages:
            reason = _why_not(method, package, requested.parameters)
            if reason is not None:
                yield Problem(at, reason, None, _instead(method, packages, methods))
        yield from _of_parameters(requested, method, at)
    targets = {target for package in packages for target in package.targets}
    if len(packages) == len(route.run):
        for position, name in enumerate(route.targets.names):
            if name not in targets:
                words = ", ".join(map(str, packages))
                suggestion = did_you_mean(name, sorted(targets), what="targets are")
                yield Problem((*place, "targets", position), f"{words} has no target '{name}'", None, suggestion)
        yield from _of_prevalence(route, (*place, "prevalence"), packages, targets)


def _of_prevalence(
    route: Route, place: Place, packages: Sequence[PackageFacts], targets: Set[str]
) -> Iterator[Problem]:
    for name in route.prevalence:
        if name not in targets:
            suggestion = did_you_mean(name, sorted(targets), what="targets are")
            yield Problem((*place, name), f"{', '.join(map(str, packages))} has no target '{name}'", None, suggestion)
        for package in packages:
            if name in package.targets and name not in package.prevalence:
                words = f"{package} does not state for which prevalence its probability of '{name}' holds"
                stated = ", ".join(package.prevalence)
                yield Problem(
                    (*place, name),
                    f"{words}, so it can't be moved to another",
                    None,
                    f"it states one for {stated}" if stated else "leave it out: its probabilities stay as they are",
                )


def _why_not(method: MethodFacts, package: PackageFacts, parameters: Mapping[str, object]) -> str | None:
    if method.tier > package.tier:
        why = f" ({package.tier_reason})" if package.tier_reason else ""
        return f"'{method.name}' needs a package of tier {method.tier}, {package} has {package.tier}{why}"
    if method.tasks and package.task not in method.tasks:
        return f"'{method.name}' explains {', '.join(method.tasks)}; {package} is a model for {package.task}"
    return package.lacks(method.name, parameters)


def _instead(method: MethodFacts, packages: Sequence[PackageFacts], methods: Mapping[str, MethodFacts]) -> str | None:
    """The nearest method that all packages of the route can give: same kind first, then highest tier, then by name."""
    able = [
        candidate
        for candidate in methods.values()
        if candidate.name != method.name  # by other parameters it may well work
        and candidate.deliverable
        and all(_why_not(candidate, package, {}) is None for package in packages)
    ]
    if not able:
        return "no method works with all packages of this route"
    same_kind = [candidate for candidate in able if candidate.kind == method.kind] or able
    near = nearest(method.name, [candidate.name for candidate in same_kind])
    best = max(same_kind, key=lambda candidate: (candidate.tier, candidate.name == near, candidate.name))
    return f"'{near or best.name}' works"


def _of_parameters(requested: MethodRequest, method: MethodFacts, place: Place) -> Iterator[Problem]:
    try:
        method.Parameters.model_validate(dict(requested.parameters))
    except ValidationError as error:
        known = sorted(method.Parameters.model_fields)
        for detail in error.errors(include_url=False):
            name = str(detail["loc"][0]) if detail["loc"] else ""
            at: Place = (*place, requested.name, *detail["loc"])
            if detail["type"] == "extra_forbidden":
                suggestion = did_you_mean(name, known, what="its parameters are") or "it has no parameters"
                yield Problem(at, f"'{requested.name}' has no parameter '{name}'", None, suggestion)
            else:
                suffix = f", found '{detail['input']}'" if isinstance(detail["input"], str | int | float) else ""
                message = detail["msg"].removeprefix("Value error, ")
                yield Problem(at, f"'{requested.name}': {message[:1].lower()}{message[1:]}{suffix}")
