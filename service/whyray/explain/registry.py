"""The methods there are: each a class with a name, a tier and typed parameters; one registration each.

Methods whose answer is a heatmap implement `attribute` (and are `AttributionMap`s, whatever their kind); all others
implement `explain_case` (and are `TypedMethod`s).
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, ClassVar, Protocol, get_args, runtime_checkable

from pydantic import BaseModel, ConfigDict, ValidationError

from whyray.base.errors import ConfigError, WhyRayError
from whyray.explain.case import Attribution, Case
from whyray.explain.typed import TypedExplanation
from whyray.explain.types import Kind, Tier
from whyray.inference import Model
from whyray.packages import CompanionRole


class MethodParameters(BaseModel):
    """Base of all methods' parameters: unknown names are errors, defaults are the paper's."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Described(Protocol):
    """What every explanation method says of itself.

    Attributes
    ----------
    name
        Kebab-case.
    title
        What it is called where people other than scientists read.
    tier
        What it needs of a model.
    kind
        Its type of interpretability.
    signed, unit
        As in Heatmap.
    stochastic
        Whether another seed gives another map; then its parameters have a `seed`.
    deliverable
        False for methods that fail the sanity checks of Adebayo et al. 2018 and are here for research only.
    tasks
        The tasks that it can explain; empty for all.
    Parameters
        The pydantic class of its parameters.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    tier: ClassVar[Tier]
    kind: ClassVar[Kind]
    signed: ClassVar[bool]
    unit: ClassVar[str]
    stochastic: ClassVar[bool]
    deliverable: ClassVar[bool]
    tasks: ClassVar[tuple[str, ...]]
    Parameters: ClassVar[type[MethodParameters]]

    def cost(self, parameters: Any) -> int:
        """About how many forward passes it takes, a pass back counting as two; at the parameters given."""
        ...

    @property
    def stage(self) -> int:
        """When it comes: 0 needs nothing said before, 1 reads the heatmaps in `case.context.made`, 2 all of it."""
        ...

    def why_not(self, model: Model) -> WhyRayError | None:
        """What this model lacks for this method beyond tier and task (an artefact, a companion); None for nothing."""
        ...

    def why_not_with(self, model: Model, given: Mapping[str, object]) -> WhyRayError | None:
        """The same for a request that gives these parameters, which come before those that the manifest prefers."""
        ...


@runtime_checkable
class Method(Described, Protocol):
    """A method whose answer is a heatmap."""

    def attribute(self, case: Case, parameters: Any) -> Sequence[Attribution]:
        """One attribution for each of `case.targets`, sharing forward passes between them."""
        ...


@runtime_checkable
class TypedMethod(Described, Protocol):
    """A method whose answer is of another type than a heatmap."""

    def explain_case(self, case: Case, parameters: Any) -> Sequence[TypedExplanation]:
        """One explanation for each of `case.targets`.

        Raises ExplanationError or ArtefactMissing where it can't be given, with what to do.
        """
        ...


AnyMethod = Method | TypedMethod


class MethodDefaults:
    """Defaults of a method; each states what differs. Without a `title` its name is read as words."""

    title: ClassVar[str] = ""
    signed: ClassVar[bool] = False
    unit: ClassVar[str] = "logit"
    stochastic: ClassVar[bool] = False
    deliverable: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ()
    stage: ClassVar[int] = 0
    companion: ClassVar[CompanionRole | None] = None
    """The role of the package that it needs beside the model; its parameter of that name may name another."""
    Parameters: ClassVar[type[MethodParameters]] = MethodParameters

    def cost(self, parameters: Any) -> int:  # noqa: ARG002
        """One run."""
        return 1

    def why_not(self, model: Model) -> WhyRayError | None:  # noqa: ARG002
        """Nothing is missing."""
        return None

    def why_not_with(self, model: Model, given: Mapping[str, object]) -> WhyRayError | None:
        """As `why_not`; where a companion of its own is given, the manifest's is not asked for.

        A method that looks up what another parameter names (an artefact, a layer) overrides this.
        """
        if self.companion is not None and given.get(self.companion) is not None:
            return None
        return self.why_not(model)


class AttributionMap(MethodDefaults):
    """Defaults of methods whose answer is a heatmap; a method states what differs."""

    kind: ClassVar[Kind] = "attribution map"

    def cost(self, parameters: Any) -> int:  # noqa: ARG002
        """One run, and for gradients the way back."""
        return 3 if getattr(self, "tier", "T0") == "T2" else 1


ENTRY_POINTS = "whyray.methods"
"""Entry points by which other distributions bring methods: each names the class of one, or a module of several."""

_METHODS: dict[str, AnyMethod] = {}
_NOT_LOADED: list[str] = []
_log = logging.getLogger("whyray.explain")


def register(method: type[Any]) -> type[Any]:
    """Class decorator: make a method known under its name.

    Raises
    ------
    ValueError
        If the class is no method, its name is not in kebab-case, or another method has that name.
    """
    if not isinstance(method, type) or not issubclass(method, MethodDefaults):
        raise ValueError(f"{method!r} is no class that derives from AttributionMap or MethodDefaults")
    name = getattr(method, "name", "")
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise ValueError(f"{method.__name__}: expected a name in kebab-case, found {name!r}")
    if getattr(method, "tier", None) not in get_args(Tier) or getattr(method, "kind", None) not in get_args(Kind):
        raise ValueError(f"{name}: expected a tier of {get_args(Tier)} and a kind of {get_args(Kind)}")
    if not (hasattr(method, "attribute") or hasattr(method, "explain_case")):
        raise ValueError(f"{name}: expected a method 'attribute' or 'explain_case'")
    if name in _METHODS:
        raise ValueError(f"two methods are called {name}")
    made: AnyMethod = method()  # type: ignore[assignment]  # held by the checks above
    _METHODS[name] = made
    return method


@cache
def _load_entry_points() -> None:
    """Register what other installed distributions bring; what fails is logged, and named where it is asked for."""
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        try:
            value = point.load()
            if isinstance(value, ModuleType):
                continue  # its classes have registered themselves
            if type(_METHODS.get(getattr(value, "name", ""))) is not value:
                register(value)
        except Exception as error:  # another's code, of which one method must not take all the others with it
            source = point.dist.name if point.dist else point.value
            _NOT_LOADED.append(f"{point.name} of {source} ({type(error).__name__}: {error})")
            _log.error("explanation methods %s can't be loaded: %s: %s", point.name, type(error).__name__, error)


def methods() -> tuple[AnyMethod, ...]:
    """All registered methods, those of other distributions among them, by tier and name."""
    _load_entry_points()
    return tuple(sorted(_METHODS.values(), key=lambda method: (method.tier, method.name)))


def heatmap_methods() -> tuple[Method, ...]:
    """Those whose answer is a heatmap."""
    return tuple(method for method in methods() if not isinstance(method, TypedMethod))


def method_named(name: str) -> AnyMethod:
    """The method of that name; ConfigError names the nearest where there is none."""
    _load_entry_points()
    if name not in _METHODS:
        near = difflib.get_close_matches(name, _METHODS, n=1)
        not_loaded = f"; not loaded: {'; '.join(_NOT_LOADED)}" if _NOT_LOADED else ""
        raise ConfigError(
            f"no explanation method {name!r}; there is: {', '.join(sorted(_METHODS))}{not_loaded}",
            advice=(f"Did you mean {near[0]!r}? " if near else "") + "`whyray package methods` shows all.",
        )
    return _METHODS[name]


def method_title(name: str) -> str:
    """What a method is called for people: its title, else its name read as words; of methods that are gone as well."""
    _load_entry_points()
    for kind in type(_METHODS.get(name)).__mro__:
        if "name" in vars(kind):  # a title that is inherited is that of another method
            return vars(kind).get("title") or _as_words(name)
    return _as_words(name)


def _as_words(name: str) -> str:
    return name.replace("-", " ").capitalize()


def required_tier(name: str) -> Tier:
    """The tier that a method needs; no model is loaded. ConfigError where there is no such method."""
    return method_named(name).tier


def checked_parameters(name: str, given: Mapping[str, object]) -> MethodParameters:
    """A method's parameters with `given` in place of defaults; ConfigError names the parameter that is wrong."""
    method = method_named(name)
    try:
        return method.Parameters.model_validate(dict(given))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}" for problem in error.errors()
        )
        known = ", ".join(method.Parameters.model_fields) or "none"
        raise ConfigError(
            f"parameters of {name}: {problems}", advice=f"{name} has these parameters: {known}."
        ) from error
