"""Routes: which series go to which packages, which explanations, which destinations, at what priority."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from whyray.config.audiences import Audience, reader_of
from whyray.config.base import OneOrMore, Section
from whyray.config.conditions import AllOf, ConditionValue
from whyray.config.result_kinds import DEFAULT_KINDS, ResultKind
from whyray.config.values import Duration, Share, format_duration, parse_duration

EXPLANATION_GROUPS = ("all", "preferred", "radiologist", "scientist", "administrator")
"""Names in `explain` that stand for several methods: as many of them as the package can give."""
Priority = Literal["stat", "urgent", "routine"]

_REFERENCE = re.compile(r"([a-z0-9][a-z0-9-]*)(?:@(\d+(?:\.\d+){0,2}))?", re.ASCII)
_METHOD = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)
_TOP = re.compile(r"top-([1-9]\d{0,2})", re.ASCII)
_KEEP = re.compile(r"keep (.+)")


@dataclass(frozen=True)
class PackageReference:
    """`NAME`, or `NAME@PREFIX` where the newest version that begins with PREFIX (whole numbers) is meant."""

    name: str
    version: str | None = None

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name}@{self.version}"

    def admits(self, version: str) -> bool:
        """Whether this version of the package is meant: `1.2` admits 1.2.9, not 1.20.0."""
        return self.version is None or f"{version}.".startswith(f"{self.version}.")


@dataclass(frozen=True)
class MethodRequest:
    """An explanation method and the parameters that the route gives it."""

    name: str
    parameters: Mapping[str, object]


@dataclass(frozen=True)
class TargetRequest:
    """Which answers are explained: all that are present, the `count` most probable, all, or those named."""

    rule: Literal["present", "top", "all", "named"]
    count: int = 0
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"top-{self.count}" if self.rule == "top" else ", ".join(self.names) or self.rule


@dataclass(frozen=True)
class Otherwise:
    """What becomes of a study that no route matched: kept for `keep`, or discarded at once (None)."""

    keep: timedelta | None

    def __str__(self) -> str:
        return "discard" if self.keep is None else f"keep {format_duration(self.keep)}"


def _package(value: object) -> PackageReference:
    if isinstance(value, PackageReference):
        return value
    match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise PydanticCustomError(
            "package", "a package is NAME or NAME@VERSION", {"suggestion": "e.g. cxr-findings@1 or cxr-findings@1.0.2"}
        )
    return PackageReference(match.group(1), match.group(2))


def _methods(value: object) -> object:
    """A list of names and of one-key mappings, or one mapping, into a list of requests; places in the file are kept."""
    if isinstance(value, str):
        return [value]
    return [{name: below} for name, below in value.items()] if isinstance(value, Mapping) else value


def _method(value: object) -> MethodRequest:
    if isinstance(value, MethodRequest):
        return value
    if isinstance(value, str):
        value = {value: None}
    if not isinstance(value, Mapping) or len(value) != 1:
        raise PydanticCustomError(
            "method", "a method is a name, or a name with its parameters", {"suggestion": "e.g. rise: {masks: 2000}"}
        )
    name, parameters = next(iter(value.items()))
    if not _METHOD.fullmatch(str(name)):
        raise PydanticCustomError("method", "a method's name is lower-case words joined by hyphens")
    if parameters is not None and not isinstance(parameters, Mapping):
        raise PydanticCustomError(
            "method", "{name} needs a mapping of parameters", {"name": name, "suggestion": f"e.g. {name}: {{seed: 1}}"}
        )
    return MethodRequest(str(name), {str(key): _plain(setting) for key, setting in (parameters or {}).items()})


def _plain(value: object) -> object:
    """A float as float: in parameters the way of writing has no meaning."""
    return float(value) if isinstance(value, float) else value


def _targets(value: object) -> TargetRequest:
    if isinstance(value, TargetRequest):
        return value
    if isinstance(value, list | tuple) and value and all(isinstance(name, str) and name for name in value):
        return TargetRequest("named", names=tuple(value))
    if value == "present":
        return TargetRequest("present")
    if value == "all":
        return TargetRequest("all")
    if isinstance(value, str) and (match := _TOP.fullmatch(value)):
        return TargetRequest("top", count=int(match.group(1)))
    raise PydanticCustomError(
        "targets", "targets are present, all, top-N, or a list of target names", {"suggestion": "e.g. top-3"}
    )


def _write_targets(requested: TargetRequest) -> object:
    return list(requested.names) if requested.rule == "named" else str(requested)


def _otherwise(value: object) -> Otherwise:
    if isinstance(value, Otherwise):
        return value
    if value == "discard":
        return Otherwise(None)
    if isinstance(value, str) and (match := _KEEP.fullmatch(value)):
        try:
            return Otherwise(parse_duration(match.group(1)))
        except ValueError as error:
            raise PydanticCustomError("otherwise", "{reason}", {"reason": str(error)}) from None
    raise PydanticCustomError("otherwise", "otherwise is 'keep DURATION' or 'discard'", {"suggestion": "e.g. keep 24h"})


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


_METHOD_SCHEMA = {
    "anyOf": [
        {"type": "string", "pattern": f"^{_METHOD.pattern}$"},
        {"type": "object", "minProperties": 1, "maxProperties": 1},
    ],
    "title": "method",
}
PackageName = Annotated[
    PackageReference,
    PlainValidator(_package),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{_REFERENCE.pattern}$", "title": "package"}),
]
Method = Annotated[
    MethodRequest,
    PlainValidator(_method),
    PlainSerializer(
        lambda requested: {requested.name: dict(requested.parameters)} if requested.parameters else requested.name
    ),
    WithJsonSchema(_METHOD_SCHEMA),
]
Targets = Annotated[
    TargetRequest,
    PlainValidator(_targets),
    PlainSerializer(_write_targets),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": "^(present|all|top-[1-9][0-9]{0,2})$"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ],
            "title": "targets",
        }
    ),
]
OtherwiseValue = Annotated[
    Otherwise,
    PlainValidator(_otherwise),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^(discard|keep .+)$", "title": "otherwise"}),
]


class ExpectedCount(Section):
    """Ask an archive by C-FIND how many instances there should be."""

    source: Annotated[str, Field(alias="from")]
    """Name of the destination to ask."""
    level: Literal["series", "study"] = "study"
    """Compare NumberOfSeriesRelatedInstances, or NumberOfStudyRelatedInstances."""


class Completion(Section):
    """When a study is held to be complete; the first rule that fires decides."""

    on_release: bool = False
    """When the association that brought it is released."""
    quiet_for: Duration = timedelta(seconds=60)
    """When nothing has come for so long."""
    at_most: Duration = timedelta(hours=2)
    """Never wait longer than this after the first instance."""
    expect: ExpectedCount | None = None
    """Where given, quiet time and release count only once the expected number of instances is here."""
    if_incomplete: Literal["process", "skip"] = "process"
    """What to do when `at_most` is over and instances are still missing."""

    @model_validator(mode="after")
    def _quiet_before_ceiling(self) -> Completion:
        if self.quiet_for > self.at_most:
            raise PydanticCustomError(
                "complete",
                "quiet_for ({quiet}) is longer than at_most ({most}), so it could never decide",
                {"quiet": format_duration(self.quiet_for), "most": format_duration(self.at_most)},
            )
        return self


class Send(Section):
    """What is sent where."""

    to: Annotated[
        tuple[str, ...], BeforeValidator(_one_or_more, json_schema_input_type=OneOrMore[str]), Field(min_length=1)
    ]
    """Names of destinations."""
    kinds: Annotated[
        tuple[ResultKind, ...],
        BeforeValidator(_one_or_more, json_schema_input_type=OneOrMore[ResultKind]),
        Field(alias="as", min_length=1),
    ] = DEFAULT_KINDS
    """Kinds of result: sc (Secondary Capture), seg (Segmentation), sr (Structured Report), which common viewers open;
    and for those that do: pm (Parametric Map), gsps (outlines on the originals as presentation states), blend
    (presentation states that lay the map over the original in the standard's Hot Iron palette; needs pm), ko (Key
    Object Selection of the key slices), pdf (a report to print, which names the patient), cine (the steps of a
    counterfactual as frames of one Secondary Capture)."""

    @model_validator(mode="after")
    def _blends_have_maps(self) -> Send:
        if "blend" in self.kinds and "pm" not in self.kinds:
            raise PydanticCustomError("send", "blend shows Parametric Maps", {"suggestion": "add pm to `as`"})
        return self


class Budget(Section):
    """What one job may cost."""

    quality_forwards: Annotated[int, Field(ge=0, strict=True)] = 100
    """Forward passes of the model for the quality card of one explanation; the comparison with random orders, without
    which nothing is shown, is made in any case."""
    frames: Annotated[int, Field(ge=1, le=256, strict=True)] = 16
    """At most so many frames of a multi-frame image are explained, those with the clearest answers; of `targets:
    present`, only frames with a finding, where there are any. All are answered, and report and pages say which are
    explained. A frame's page takes about 3 MB."""
    job_time: Duration = timedelta(minutes=30)
    """A job that runs longer is stopped and failed."""


class Route(Section):
    """One rule: series that meet `when`, in studies that meet `study`, go to the packages of `run`."""

    model_config = ConfigDict(title="Route")

    name: Annotated[str, Field(min_length=1, max_length=64)]
    """Unique name; it appears in results, in the catalog and on the admin page."""
    when: ConditionValue
    """Condition on each series; `{}` takes every series."""
    study: ConditionValue = AllOf()
    """Condition on the study as a whole, e.g. `NumberOfStudyRelatedSeries: {range: {min: 2}}`."""
    complete: Completion = Completion()
    """When the study is complete enough to start."""
    run: Annotated[
        tuple[PackageName, ...],
        BeforeValidator(_one_or_more, json_schema_input_type=OneOrMore[PackageName]),
        Field(min_length=1),
    ]
    """Package, or list of packages: `NAME` or `NAME@VERSION`, where 1 means the newest 1.x.y."""
    explain: Annotated[
        tuple[Method, ...],
        BeforeValidator(_methods, json_schema_input_type=OneOrMore[Method] | dict[str, dict[str, object] | None]),
    ] = (MethodRequest("preferred", {}),)
    """Explanation methods: a list of names, or `{method: {parameter: value}}`. `preferred` stands for the package's map
    that hit most boxes when it was onboarded, or else for what its answer is the sum of, or else for Grad-CAM (`whyray
    package show` says which and why); `radiologist`, `scientist`, `administrator` and `all` for those methods that suit
    them and that the package can give, the preferred map first."""
    audience: Audience | None = None
    """Who results are for: `radiologist` (what was found, a page a finding, in plain words), `scientist` (these, pages
    with every measurement, units, TCAV, and regions and maps of the parts of an explanation, such as the difference of
    a counterfactual), `administrator` (what was found, alone). Reports hold every measurement for all. Left out:
    `scientist` where `explain` names `scientist`, `all`, `tcav`, `rcv` or `unit-report`, `administrator` where it names
    that alone, else `radiologist`."""
    targets: Targets = TargetRequest("present")
    """Which answers are explained: `present`, `all`, `top-N`, or a list of target names."""
    prevalence: dict[str, Share] = Field(default_factory=dict)
    """How common findings are among the images of this route: `{target: 2%}`. Probabilities and thresholds of these
    targets are moved from the prevalence that the package states (`whyray package show`) to this one, so that they hold
    here; who is called present stays the same. Only for targets whose prevalence the package states."""
    send: Send | None = None
    """Where results go; without it they stay in WhyRay and on its admin page."""
    priority: Priority = "routine"
    """Place in the queue: stat before urgent before routine."""
    dry_run: bool = False
    """Run and keep the results, but send nothing."""
    research_methods: bool = False
    """Allow methods that are known to fail the sanity check (e.g. guided-backprop); for research only."""
    language: Annotated[str, Field(pattern=r"^[a-z]{2}(-[A-Z]{2})?$")] = "en"
    """Language of the results' wording, as far as the templates have it."""
    budget: Budget = Budget()
    """Limits of cost."""
    by_order: bool = False
    """Run only where a worklist asks for it, never because images came."""
    enabled: bool = True
    """A route that is false here is read and checked but never matches."""

    @property
    def reader(self) -> Audience:
        """Who the pages are for, where the route doesn't say it too."""
        return self.audience or reader_of([method.name for method in self.explain])

    @model_validator(mode="after")
    def _each_once(self) -> Route:
        for field, names in (
            ("run", [str(reference) for reference in self.run]),
            ("explain", [method.name for method in self.explain]),
        ):
            twice = [name for index, name in enumerate(names) if name in names[:index]]
            if twice:
                raise PydanticCustomError(
                    "route", "'{name}' is named twice in {field}", {"name": twice[0], "field": field}
                )
        return self
