"""`whyray explain`: how a scientist tries a model: files in, DICOM, pictures and a report out."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from whyray.commands.options import DEFAULT_CONFIG


def explain(
    paths: Annotated[list[Path], typer.Argument(help="DICOM files, or folders of them, of one study.", exists=True)],
    package: Annotated[str, typer.Option("--package", "-p", help="NAME, NAME@VERSION, or a package folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for dicom/, pictures/ and report.json.")],
    method: Annotated[
        list[str] | None,
        typer.Option("--method", "-m", help="Explanation method; may be repeated. See `whyray package show`."),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-t", help="Target to explain; may be repeated; 'all'. Default: those present."),
    ] = None,
    language: Annotated[str, typer.Option(help="Language of the wording: en, de, fr, es, ja.")] = "en",
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Take package and template folders from this file.")
    ] = None,
) -> None:
    """Explain files without PACS and queue.

    Exit code 0: all asked for was made; 1: some explanation was refused or withheld (the report says why).
    """
    from whyray.config import load_config
    from whyray.models import RuntimeOptions, load_package
    from whyray.pipeline.files import explain_files, instance_files
    from whyray.pipeline.run import Wish
    from whyray.results import load_templates

    if device not in ("cpu", "cuda", "auto"):
        raise typer.BadParameter(f"{device} is not one of cpu, cuda, auto", param_hint="--device")
    site = load_config(config) if config else load_config(DEFAULT_CONFIG) if DEFAULT_CONFIG.is_file() else None
    model = load_package(
        package,
        search=site.packages.folders if site else (),
        options=RuntimeOptions(device=device),  # type: ignore[arg-type]  # checked above
    )
    for name in target or ():
        if name not in ("all", "present"):
            model.target_index(name)
    wish = Wish(
        methods={name: {} for name in method or ("grad-cam",)},
        targets="present" if not target or target == ["present"] else "all" if "all" in target else tuple(target),
        seed=seed,
    )
    templates = load_templates(site.templates.folder if site else None)
    files = instance_files(paths)
    from whyray.commands.screen import print_report, progress_bar

    with progress_bar() as progress:
        report = explain_files(
            files, model, wish, out, templates=templates, language=language, at=datetime.now(UTC), progress=progress
        )
    print_report(report, out)
    if report.has_refusals:
        raise typer.Exit(1)
