"""What other rooms lend to the admin page: route tests, echoes, the list of packages."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from whyray.admin import ClauseVerdict, EchoOutcome, PackageInfo, RouteVerdict, Tools
from whyray.errors import DecodeError, NotFound, WhyRayError
from whyray.pipeline.house import House


def admin_tools(house: House) -> Tools:
    """The tools of this house."""
    return Tools(
        route_test=lambda paths: _route_test(house, paths),
        echo=lambda name: _echo(house, name),
        packages=lambda: _packages(house),
    )


def _route_test(house: House, paths: Sequence[Path]) -> Sequence[RouteVerdict]:
    from whyray.routing import match_series

    verdicts = []
    for path in paths:
        try:
            header = dcmread(path, stop_before_pixels=True)
        except InvalidDicomError:
            raise DecodeError("the file is no DICOM file (PS3.10)", advice="Drop a .dcm file.") from None
        for route in house.config().routes:
            match = match_series(route, header)
            verdicts.append(
                RouteVerdict(
                    route=route.name,
                    series_instance_uid=str(header.get("SeriesInstanceUID", "")),
                    matches=match.matched and route.enabled,
                    clauses=tuple(ClauseVerdict(each.text, each.matched, each.found) for each in match.clauses),
                )
            )
    return verdicts


def _echo(house: House, name: str) -> EchoOutcome:
    from whyray.delivery import Caller, echo

    config = house.config()
    if name not in config.destinations:
        raise NotFound(f"no destination {name!r}; there is: {', '.join(config.destinations) or 'none'}")
    started = time.monotonic()
    try:
        answer = echo(config.destinations[name], Caller(config.listener.ae_title))
    except WhyRayError as error:
        return EchoOutcome(False, 1000 * (time.monotonic() - started), error.message, error.advice)
    return EchoOutcome(True, 1000 * (time.monotonic() - started), answer.words)


def _packages(house: House) -> Sequence[PackageInfo]:
    from whyray.models import list_packages, load_package
    from whyray.pipeline.checked_config import quick_tier

    found = []
    for entry in list_packages(house.config().packages.folders):
        if entry.manifest is None or entry.problem:
            continue
        model = load_package(entry.folder)
        card = entry.folder / entry.manifest.card
        found.append(
            PackageInfo(
                name=entry.name,
                version=entry.version,
                title=entry.manifest.title,
                task=entry.manifest.task,
                tier=quick_tier(model),
                targets=model.targets,
                digest=model.digest,
                licence=entry.manifest.licence,
                intended_use=entry.manifest.intended_use,
                card=card.read_text("utf-8") if card.is_file() else "",
            )
        )
    return found
