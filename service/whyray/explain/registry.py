"""The methods there are: each a class with a name, a tier and typed parameters; one registration each."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from whyray.errors import ConfigError
from whyray.explain.case import Attribution, Case
from whyray.explain.types import Kind, Tier


class MethodParameters(BaseModel):
    """Base of all methods' parameters: unknown names are errors, defaults are the paper's."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Method(Protocol):
    """One explanation method.

    Attributes
    ----------
    name
        Kebab-case.
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

    def attribute(self, case: Case, parameters: Any) -> Sequence[Attribution]:
        """One attribution for each of `case.targets`, sharing forward passes between them."""
        ...


class AttributionMap:
    """Defaults of the methods of this room's first kind; a method states what differs."""

    kind: ClassVar[Kind] = "attribution map"
    signed: ClassVar[bool] = False
    unit: ClassVar[str] = "logit"
    stochastic: ClassVar[bool] = False
    deliverable: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ()
    Parameters: ClassVar[type[MethodParameters]] = MethodParameters

    def cost(self, parameters: Any) -> int:  # noqa: ARG002
        """One run, and for gradients the way back."""
        return 3 if getattr(self, "tier", "T0") == "T2" else 1


_METHODS: dict[str, Method] = {}


def register(method: type[Any]) -> type[Any]:
    """Class decorator: make a method known under its name."""
    if method.name in _METHODS:
        raise ValueError(f"two methods are called {method.name}")
    _METHODS[method.name] = method()
    return method


def methods() -> tuple[Method, ...]:
    """All registered methods, by tier and name."""
    return tuple(sorted(_METHODS.values(), key=lambda each: (each.tier, each.name)))


def method_named(name: str) -> Method:
    """The method of that name; ConfigError names the nearest where there is none."""
    if name not in _METHODS:
        near = difflib.get_close_matches(name, _METHODS, n=1)
        raise ConfigError(
            f"no explanation method {name!r}; there is: {', '.join(sorted(_METHODS))}",
            advice=f"Did you mean {near[0]!r}?" if near else None,
        )
    return _METHODS[name]


def required_tier(name: str) -> Tier:
    """The tier that a method needs; no model is loaded. ConfigError where there is no such method."""
    return method_named(name).tier


def checked_parameters(name: str, given: Mapping[str, object]) -> MethodParameters:
    """A method's parameters with `given` in place of defaults; ConfigError names the parameter that is wrong."""
    method = method_named(name)
    try:
        return method.Parameters.model_validate(dict(given))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in error.errors())
        known = ", ".join(method.Parameters.model_fields) or "none"
        raise ConfigError(
            f"parameters of {name}: {problems}", advice=f"{name} has these parameters: {known}."
        ) from error
