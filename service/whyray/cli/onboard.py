"""`whyray package onboard`: from an ONNX file and images to a package that says what it can give and how well."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whyray.base.shown import shown_path
from whyray.cli.explain import WITHHELD, Device

if TYPE_CHECKING:
    from whyray.inference import Model
    from whyray.packages import Package


def onboard(
    reference: Annotated[str, typer.Argument(help="NAME, NAME@VERSION, a package folder, or a file MODEL.onnx.")],
    images: Annotated[
        list[Path],
        typer.Option("--images", "-i", help="DICOM files, grey PNG or JPEG pictures, or folders; may be repeated."),
    ],
    manifest: Annotated[
        Path | None, typer.Option(help="The model.yaml of MODEL.onnx (docs/packages.md).", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Install into NAME/VERSION/ under here first.", show_default=False),
    ] = None,
    folder: Annotated[
        list[Path] | None, typer.Option("--folder", "-f", help="Also look for NAME/VERSION/ in here.")
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option("--method", "-m", help="Only this method; may be repeated. [default: all]")
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            help="CSV of boxes: image, target, x, y, width, height, in pixels; patient where known.",
            show_default=False,
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="CSV of labels: image, and 1 or 0 for each target; patient where known.", show_default=False),
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="Take at most so many images, evenly chosen.")] = 200,
    explained: Annotated[int, typer.Option(min=1, help="Make maps of at most so many, those with boxes first.")] = 12,
    localised: Annotated[
        int, typer.Option(min=1, help="Measure where maps point on at most so many images with boxes.")
    ] = 200,
    keep_images: Annotated[
        bool, typer.Option(help="Keep some images in the package: as references, and beside maps in the report.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Seed of all that draws random numbers.")] = 0,
    device: Annotated[
        Device, typer.Option(help="Where the model runs: auto (a GPU where there is one), cpu or cuda.")
    ] = Device.auto,
) -> None:
    """Measure what a package can give, and how well, on a site's own images.

    Slow, once. Finds tier, feature maps and head, times every method, asks whether its maps are faithful to the model
    and puts them to the randomisation check; with --truth also how many boxes each method's maps hit, beside the centre
    of the image and the brightness of the lungs; with --labels the AUC of each finding, and how far probabilities can
    be believed. Warns of weights that learned nothing (of layers of 32,768 weights or more: smaller ones can't be
    told), of methods whose maps don't change with them, and of what `whyray package check` warns of. Writes
    onboarding/report.json and report.html into the package. With --keep-images, the default, that folder holds pixels
    of the images: don't give it away.

    Examples:

    * `whyray package onboard MODEL.onnx --manifest model.yaml --images pictures/ --out packages/`
    * `whyray package onboard packages/my-model/1.0.0 -i series/ --truth boxes.csv -m grad-cam -m rise`

    Exit code 0: all images were taken. 1: some were refused, and are told. 2: nothing was measured. 3: it was measured,
    and every explanation is withheld, for most of the weights are as random as if they had learned nothing.
    """
    from whyray.base.errors import ConfigError, NotFound
    from whyray.cli.screen import image_files, progress_bar
    from whyray.explain import method_named
    from whyray.inference import RuntimeOptions, load_package
    from whyray.onboarding import onboard as measure
    from whyray.onboarding.images import onboarding_images, read_known
    from whyray.packages import MANIFEST, copy_package, find_package, install_package, read_manifest
    from whyray.packages.report_warnings import LEARNED

    for name in method or ():
        method_named(name)
    graph = Path(reference) if reference.lower().endswith(".onnx") else None
    if (graph is None) != (manifest is None) or (graph is not None and out is None):
        raise ConfigError(
            "a file MODEL.onnx needs --manifest and --out, a package has its manifest already",
            advice="`whyray package onboard MODEL.onnx --manifest model.yaml --images DIR --out packages/`.",
        )
    for path in images:
        if not path.exists():
            raise NotFound(
                f"there is no file or folder {shown_path(path)}", advice="Name images, or folders that hold them."
            )
    source = None if graph is not None else find_package(reference, folder or ())
    content = read_manifest(manifest or (source or Path()) / MANIFEST)
    known = read_known(truth, labels, [target.name for target in content.targets])
    with progress_bar() as progress:
        site_images, refused = onboarding_images(
            image_files(images),
            content,
            known,
            most=most,
            progress=lambda done, words: progress(0.1 * done, words),
        )
        if graph is not None and manifest is not None and out is not None:
            place = install_package(graph, manifest, out)
        elif source is not None:
            place = source if out is None else copy_package(source, out)
        model = load_package(place, search=folder or (), options=RuntimeOptions(device=device.value))
        report = measure(
            model,
            site_images,
            only=method or (),
            explained=explained,
            localised=localised,
            keep_images=keep_images,
            seed=seed,
            progress=lambda done, total, words: progress(0.1 + 0.9 * done / max(total, 1), words),
        )
    print_report(report, model.package, refused)
    _tell_check(model)
    _tell_next(model.package)
    if (report[LEARNED] or {}).get("grade") == "red":
        raise typer.Exit(WITHHELD)
    if refused:
        raise typer.Exit(1)


def print_report(report: Mapping[str, Any], package: Package, refused: list[str]) -> None:
    """What was measured, as a table and sentences, and what to do next; `refused` says why images were not taken."""
    from rich.console import Console
    from rich.table import Table

    from whyray.packages.localisation_report import best_first, localisation_in
    from whyray.packages.randomisation_report import CheckOutcome, check_outcomes
    from whyray.packages.report_warnings import (
        DISCRIMINATION,
        FAITHFULNESS,
        LEARNED,
        ONE_QUESTION,
        discrimination_words,
        warnings_in,
    )
    from whyray.quality import NOT_TOLD

    path = package.report
    console = Console(highlight=False)
    table = Table(title=f"{report['package']}@{report['version']}: tier {report['tier']}, {report['images']} images")
    for name in ("method", "tier", "seconds", *FAITHFULNESS.values(), "randomisation check"):
        table.add_column(name, overflow="fold")
    outcomes = check_outcomes(report, package)
    table.caption = ONE_QUESTION
    if CheckOutcome.FAILED in outcomes.values():
        table.caption += " Randomisation check failed: by SSIM, which fails a method by a hair and withholds nothing."
    if CheckOutcome.WITHHELD in outcomes.values():
        table.caption += (
            " Maps withheld: they hardly change when the network's weights are shuffled, so they show the image rather "
            "than the model."
        )
    for name, entry in report["methods"].items():
        if "refused" in entry:
            table.add_row(name, entry["tier"], *["–"] * 4, f"refused: {entry['refused']}")
            continue
        grades = [str(entry["grades"][grade]) for grade in FAITHFULNESS]
        outcome = outcomes[name]
        words = f"[red]{outcome}[/]" if outcome is CheckOutcome.WITHHELD else str(outcome)
        table.add_row(name, entry["tier"], f"{entry['seconds']:.3g}", *grades, words)
    console.print(table)
    measured = localisation_in(report, package)
    for name in best_first(measured) or sorted(measured):
        console.print(f"{name}: {measured[name].words}", markup=False)
    for name, entry in report.get(DISCRIMINATION, {}).items():
        console.print(discrimination_words(name, entry), markup=False)
    if report["why not higher"]:
        console.print(f"why not a higher tier: {report['why not higher']}", markup=False)
    if report[LEARNED] is None:
        console.print(f"note: {NOT_TOLD}", markup=False, style="yellow")
    for words in warnings_in(report, package):
        console.print(f"warning: {words}", markup=False, style="yellow")
    for words in refused:
        console.print(f"refused: {words}", markup=False, style="yellow")
    console.print(f"{shown_path(path)} and {path.with_suffix('.html').name}", markup=False, soft_wrap=True)


def _tell_next(package: Package) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    place = shlex.quote(shown_path(package.folder if "/" in str(package.folder) else f"./{package.folder}"))
    for command in (f"whyray package show {place}", f"whyray explain IMAGE --package {place} --out out/"):
        console.print(f"next: {command}", markup=False, soft_wrap=True)


def _tell_check(model: Model) -> None:
    """What `whyray package check` warns of: nobody who has just onboarded a package asks it by themselves."""
    from rich.console import Console

    from whyray.onboarding import checked_model

    console = Console(highlight=False)
    checked = checked_model(model)
    for finding in checked.findings:
        console.print(f"{finding.severity}: {finding.message}. {finding.advice}", markup=False, style="yellow")
    for words in checked.beside:
        console.print(f"note: {words}", markup=False, style="yellow")
