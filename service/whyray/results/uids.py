"""UIDs that follow from what a result is made of, so that the same work gives the same objects."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import whyray
from whyray.base.errors import ConfigError
from whyray.base.stages import stage
from whyray.results.answer import Answer, GradedExplanation, MapInSource
from whyray.results.fingerprint import fingerprint

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "results.whyray")
_LONGEST_UID = 64


@dataclass(frozen=True)
class UidSource:
    """Makes UIDs from parts; equal parts give equal UIDs.

    `root`: None for UUID-derived UIDs (2.25, PS3.5 B.2), else an organisation's own root without a trailing dot.
    """

    seed: str
    root: str | None = None
    run: str | None = None
    """What all answers of a run share, where they are several: the seed of series that hold results about all."""

    def __post_init__(self) -> None:
        if self.root is not None and (
            not re.fullmatch(r"[0-2](\.(0|[1-9]\d*))+", self.root) or len(self.root) > _LONGEST_UID - 20
        ):
            raise ConfigError(
                f"{self.root!r} is not a UID root of at most {_LONGEST_UID - 20} characters",
                advice="Write the root that was assigned to your site, e.g. 1.2.826.0.1.3680043.10.1, or none.",
            )

    def uid(self, *parts: str) -> str:
        """The UID of what these parts name."""
        number = uuid.uuid5(_NAMESPACE, json.dumps([self.seed, *parts])).int
        if self.root is None:
            return f"2.25.{number}"
        digits = _LONGEST_UID - len(self.root) - 1
        return f"{self.root}.{number % 10**digits}"


def uid_source(
    answer: Answer,
    template_version: str,
    language: str,
    root: str | None,
    options: Sequence[object] = (),
    run: str | None = None,
) -> UidSource:
    """The source of all UIDs of one answer's results.

    They follow from whatever the bytes of the results follow from: the bytes of the source instances (another image
    may come under the same UIDs), all that the answer says, its time, the program's version, templates and `options`.
    So the same UID never names other bytes, and a job that is done twice, which has one time, gives the same objects.
    """
    with stage("fingerprint"):
        made_of = [fingerprint(answer), whyray.__version__, template_version, language, fingerprint(list(options))]
    return UidSource(json.dumps(made_of if run is None else [*made_of, run]), root, run)


def map_key(heatmap: MapInSource) -> str:
    """What makes a map of one target differ from another: method, layer, parameters, and which of its maps."""
    parts = [heatmap.method, heatmap.layer, dict(heatmap.parameters), *([] if heatmap.part is None else [heatmap.part])]
    return json.dumps(parts, sort_keys=True, default=str)


def typed_key(graded: GradedExplanation) -> str:
    """What makes an explanation of one target differ from another: method and parameters."""
    return json.dumps([graded.method, dict(graded.explanation.parameters)], sort_keys=True, default=str)


def map_keys(maps: Sequence[MapInSource]) -> str:
    """The keys of several maps, as one part of a UID."""
    return json.dumps([map_key(heatmap) for heatmap in maps])


def package_device_uid(digest: str, root: str | None) -> str:
    """The Device UID of a model package: another one as soon as any of its files changes (IHE AI Results)."""
    return UidSource("device", root).uid(digest)
