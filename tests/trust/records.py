"""Onboarding reports that say what maps of a package hit, for packages that tests make."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from whyray.packages import read_package
from whyray.packages.localisation_report import Figure, MapFigures, MethodLocalisation, TargetHits


def localisation_of(targets: Mapping[str, TargetHits], **parameters: object) -> MethodLocalisation:
    """What maps of these targets hit, all together and one by one."""

    def total(name: str) -> int | None:
        hits = [getattr(target, name) for target in targets.values()]
        return None if None in hits else sum(hits)

    hits, boxes, centre = (total(name) or 0 for name in ("hits", "boxes", "centre_prior_hits"))
    share = Figure(value=hits / boxes, low=0, high=1)
    return MethodLocalisation(
        hits=hits,
        boxes=boxes,
        centre_prior_hits=centre,
        usual_place_hits=total("usual_place_hits"),
        lung_brightness_hits=total("lung_brightness_hits"),
        images=boxes,
        patients=boxes,
        parameters=parameters,
        maps=MapFigures(hits=hits, hit_rate=share, iou=share, auprc=share),
        baselines={},
        ahead={},
        targets=dict(targets),
    )


def onboarded_with(folder: Path, measured: Mapping[str, MethodLocalisation]) -> None:
    """Write the report of the package in `folder`: what the maps of each method hit."""
    package = read_package(folder)
    package.report.parent.mkdir(exist_ok=True)
    methods = {name: {"localisation": reached.model_dump(mode="json")} for name, reached in measured.items()}
    package.report.write_text(json.dumps({"digest": package.digest, "tier": "T1", "methods": methods}))
