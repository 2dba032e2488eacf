"""`whyray package`: what packages there are, what is in them, what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(no_args_is_help=True, help="Model packages: list, show, check.")
Folder = Annotated[list[Path] | None, typer.Option("--folder", "-f", help="Also look for NAME/VERSION/ in here.")]
Reference = Annotated[str, typer.Argument(help="NAME, NAME@VERSION, or a package folder.")]


@app.command(name="list")
def list_(folder: Folder = None) -> None:
    """All packages, the bundled ones and those in the folders named."""
    from whyray.models import list_packages

    table = Table()
    for name in ("package", "title", "task", "input", "targets"):
        table.add_column(name)
    for entry in list_packages(folder or ()):
        name = f"{entry.name}@{entry.version}"
        if entry.manifest is None or entry.problem:
            table.add_row(name, f"[red]{entry.problem}[/]", "", "", "")
            continue
        manifest = entry.manifest
        shape = " × ".join(map(str, manifest.input.shape))
        table.add_row(name, manifest.title, manifest.task, f"{manifest.input.kind} {shape}", str(len(manifest.targets)))
    Console().print(table)


@app.command()
def show(
    reference: Reference, folder: Folder = None, card: Annotated[bool, typer.Option(help="Print the card.")] = True
) -> None:
    """What a package says of itself, the tier of its model, and which methods can explain it."""
    from rich.markdown import Markdown

    from whyray.explain import methods, why_not
    from whyray.models import load_package

    model = load_package(reference, search=folder or ())
    console, manifest = Console(), model.manifest
    console.print(f"[bold]{model.identity}[/]  {manifest.title}", highlight=False)
    console.print(f"{manifest.manufacturer}; licence {manifest.licence}; sha256 {model.digest}", highlight=False)
    console.print(f"{manifest.intended_use}\nTier {model.tier}; targets: {', '.join(model.targets)}", highlight=False)
    table = Table(title="methods")
    for name in ("method", "type", "tier", "for this package"):
        table.add_column(name)
    for method in methods():
        refusal = why_not(method, model)
        table.add_row(method.name, method.kind, method.tier, "yes" if refusal is None else f"no: {refusal.message}")
    console.print(table)
    path = model.package.folder / manifest.card
    if card and path.is_file():
        console.print(Markdown(path.read_text("utf-8")))


@app.command()
def check(reference: Reference, folder: Folder = None) -> None:
    """Read it, load its graph, run it once; exit code 1 if anything is wrong."""
    from whyray.models import check_package, find_package

    path = find_package(reference, folder or ())
    findings = check_package(path)
    console = Console()
    for each in findings:
        colour = "red" if each.severity == "error" else "yellow"
        console.print(f"[{colour}]{each.severity}[/] {each.message}\n  {each.advice}", highlight=False)
    if any(each.severity == "error" for each in findings):
        raise typer.Exit(1)
    console.print(f"{path.parent.name}@{path.name} is in order", highlight=False)
