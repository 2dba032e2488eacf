"""`whyray route test`: which routes would take a file, and which clause refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whyray.base.shown import shown_path
from whyray.cli.options import DEFAULT_CONFIG, ConfigFile

if TYPE_CHECKING:
    from pydicom import Dataset

    from whyray.config import Config, PackageReference, Route

_REQUIRED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
"""Attributes without which intake takes no instance."""
app = typer.Typer(no_args_is_help=True, help="Routes: what goes where.")


@app.command(name="test")
def try_files(
    files: Annotated[list[Path], typer.Argument(help="DICOM files of one study, or folders of them.")],
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Show for each series which routes match, and for the others the clause that refused and what was found.

    Nothing is sent and nothing is run. Of a route that asks for a group (`explain: radiologist`), the methods that
    it stands for are told in their order, and why the map is the one that it is.

    Example: `whyray route test chest.dcm --config whyray.yaml`. A file that can't be read, or that the service
    would not store, is told and left out.

    Exit code 0: some route takes something; 1: none does; 2: no file can be read, or the configuration can't be.
    """
    from rich.console import Console

    from whyray.base.errors import DecodeError
    from whyray.config import load_config
    from whyray.jobs.input_files import instance_files
    from whyray.routing import is_own_result, match_series, match_study, read_header, routes_for, series_of

    settings = load_config(config, read_secrets=False)
    console = Console(highlight=False, soft_wrap=True)
    unread: list[DecodeError] = []

    def headers() -> Iterator[Dataset]:
        for path in instance_files(files):
            try:
                header = read_header(path, called=shown_path(path))
            except DecodeError as error:
                unread.append(error)
                continue
            missing = [keyword for keyword in _REQUIRED if not header.get(keyword)]
            if missing:
                console.print(f"{shown_path(path)}: never routed: it lacks {', '.join(missing)}", markup=False)
                continue
            own = is_own_result(header, settings.uid_root, lambda _uid: False)
            if own is None:
                yield header
            else:
                console.print(f"{shown_path(path)}: never routed: {own}", markup=False)

    series = series_of(headers())
    if unread and not series:
        raise unread[0]
    for error in unread:
        console.print(error.message, markup=False)
    for route in settings.routes:
        console.print(route.name + ("" if route.enabled else " (not enabled)"), style="bold", markup=False)
        for clause in match_study(route, series).refusals:
            console.print(f"  study refused by: {clause.text}; found: {clause.value}", markup=False)
        for candidate in series:
            verdict = match_series(route, candidate.header, instances=candidate.instances)
            console.print(f"  series {candidate.uid}: {'matches' if verdict.matched else 'refused'}", markup=False)
            for clause in verdict.refusals:
                console.print(f"    by: {clause.text}; found: {clause.value}", markup=False)
    routing = routes_for(settings, series)
    for match in routing.matches:
        packages = ", ".join(map(str, match.packages))
        console.print(f"→ {match.route.name}: {packages} on {len(match.series)} series", markup=False)
        for line in _explained(settings, match.route, match.packages):
            console.print(f"  {line}", markup=False)
    if routing.otherwise:
        console.print(f"→ no route: {settings.otherwise}", markup=False)
        raise typer.Exit(1)


def _explained(settings: Config, route: Route, packages: Iterable[PackageReference]) -> Iterator[str]:
    """What a group of methods stands for, package by package; nothing where the route names methods only."""
    from whyray.base.errors import WhyRayError
    from whyray.explain import GROUPS, expanded, preferred_map
    from whyray.inference import RuntimeOptions, load_package

    if not any(requested.name in GROUPS for requested in route.explain):
        return
    for package in packages:
        try:
            options = RuntimeOptions(artefacts=(settings.artefact_folder,))
            model = load_package(str(package), search=settings.packages.folders, options=options)
            order = expanded({requested.name: dict(requested.parameters) for requested in route.explain}, model)
            first = preferred_map(model)
        except WhyRayError as error:
            yield f"{package}: {error.message}"
            continue
        yield f"{model.identity} is explained, in this order, by {', '.join(order) or 'nothing that it can give'}"
        yield f"its map is {first.method or 'none'}: {first.because}"
