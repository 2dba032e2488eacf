"""`whyray package`: what packages there are, what is in them, what is wrong with them, what can explain them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whyray.cli.index import index_package
from whyray.cli.onboard import onboard
from whyray.cli.parameters import parameter_text
from whyray.cli.units import survey_package

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from whyray.explain import AnyMethod
    from whyray.inference import Model

app = typer.Typer(
    no_args_is_help=True,
    help="Model packages: bring an ONNX file (init, onboard), list, show, check; and the methods that explain them.",
)
Folder = Annotated[list[Path] | None, typer.Option("--folder", "-f", help="Also look for NAME/VERSION/ in here.")]
Reference = Annotated[str, typer.Argument(help="NAME, NAME@VERSION, or a package folder.")]
app.command()(onboard)
app.command(name="units")(survey_package)
app.command(name="index")(index_package)


@app.command(name="list")
def list_(folder: Folder = None) -> None:
    """List all packages: the bundled ones and those in the folders named.

    A broken package is listed with what is wrong with it.

    Example: `whyray package list --folder /srv/packages`
    """
    from rich.console import Console
    from rich.text import Text

    from whyray.packages import list_packages

    table = _table("package", "title", "task", "input", "targets")
    for entry in list_packages(folder or ()):
        name = f"{entry.name}@{entry.version}"
        if entry.manifest is None or entry.problem:
            table.add_row(name, Text(str(entry.problem), style="red"), "", "", "")
            continue
        manifest = entry.manifest
        shape = " × ".join(map(str, manifest.input.shape))
        table.add_row(name, manifest.title, manifest.task, f"{manifest.input.kind} {shape}", str(len(manifest.targets)))
    Console().print(table)


@app.command()
def show(
    reference: Reference, folder: Folder = None, card: Annotated[bool, typer.Option(help="Print the card.")] = True
) -> None:
    """Show what a package says of itself, its model's tier, which map a radiologist gets and why, and what explains it.

    Parameters are those that the method would run with: the package's own preference before the paper's default.

    Example: `whyray package show cxr-findings --no-card`
    """
    from rich.console import Console
    from rich.markdown import Markdown

    from whyray.explain import checked_parameters, expanded, methods, preferred_map, why_not
    from whyray.inference import load_package

    model = load_package(reference, search=folder or ())
    console, manifest = Console(highlight=False), model.manifest
    console.print(f"{model.identity}  {manifest.title}", style="bold", markup=False)
    console.print(f"{manifest.manufacturer}; licence {manifest.licence}; sha256 {model.package.digest}", markup=False)
    console.print(f"{manifest.intended_use}\nTier {model.tier}; targets: {', '.join(model.targets)}", markup=False)
    stated = ", ".join(
        f"{target.name} {100 * target.prevalence:.3g} %" for target in manifest.targets if target.prevalence is not None
    )
    if stated:
        console.print(f"Probabilities hold for these prevalences, which a route may set: {stated}", markup=False)
    if model.targets:
        preferred = preferred_map(model)
        console.print(f"Map for radiologists: {preferred.method or 'none'}: {preferred.because}.", markup=False)
        report = model.report() or {}
        _tell_measured(console, model, report)
        agreed = report.get("agreement")
        if agreed is not None:
            words = f"the strongest tenths of {len(agreed['methods'])} methods' maps overlap by {agreed['value']:.0%}"
            console.print(f"Agreement of maps: {words} (by chance {agreed['by chance']:.0%})", markup=False)
        order = ", ".join(expanded({"radiologist": {}}, model)) or "nothing that it can give"
        console.print(f"`explain: radiologist` stands for, in this order: {order}", markup=False)
    table = _table("method", "tier", "for this package", "parameters")
    table.caption = "Set a parameter with `whyray explain --param METHOD.NAME=VALUE`."
    for method in methods():
        refusal = why_not(method, model)
        given = checked_parameters(method.name, manifest.methods.get(method.name, {})).model_dump()
        table.add_row(
            method.name,
            method.tier,
            "yes" if refusal is None else f"no: {refusal.message}",
            "" if refusal else parameter_text(given),
        )
    console.print(table)
    path = model.package.folder / manifest.card
    if card and path.is_file():
        console.print(Markdown(path.read_text("utf-8")))


def _tell_measured(console: Console, model: Model, report: Mapping[str, Any]) -> None:
    """What was measured of the weights, at onboarding of the answers and by randomised weights; warnings last."""
    from whyray.packages.randomisation_report import CheckOutcome, check_outcomes
    from whyray.packages.report_warnings import (
        DISCRIMINATION,
        LEARNED,
        discrimination_words,
        warnings_in,
    )
    from whyray.quality import NOT_TOLD, learned_weights_entry

    for target, entry in report.get(DISCRIMINATION, {}).items():
        console.print(f"Onboarding: {discrimination_words(target, entry)}", markup=False)
    outcomes = check_outcomes(report, model.package)
    of = {outcome: [name for name, one in outcomes.items() if one is outcome] for outcome in CheckOutcome}
    checked = len(outcomes) - len(of[CheckOutcome.NOT_CHECKED])
    if checked:
        others = [outcome for outcome in CheckOutcome if outcome is not CheckOutcome.PASSED and of[outcome]]
        words = "".join(f"; {outcome}: {', '.join(of[outcome])}" for outcome in others)
        passed = len(of[CheckOutcome.PASSED])
        console.print(f"Randomisation check: {passed} of {checked} methods passed{words}", markup=False)
    # of the weights as they are, whether or not somebody onboarded them
    learned = learned_weights_entry(model)
    if learned is None:
        console.print(f"Note: {NOT_TOLD}.", markup=False, style="yellow")
    for words in warnings_in({**report, LEARNED: learned}, model.package):
        console.print(f"Warning: {words}.", markup=False, style="yellow")


@app.command(name="methods")
def methods_(
    method: Annotated[str | None, typer.Argument(help="Tell all about this one.", show_default=False)] = None,
) -> None:
    """List the explanation methods that there are, with their parameters and defaults; or tell all about one.

    Tier: what a method needs of a model. T0: nothing but its answers; T1: inner activations; T2: gradients.

    Examples: `whyray package methods`, `whyray package methods rise`,
    `whyray explain … --method rise --param rise.masks=500`
    """
    from rich.console import Console

    from whyray.explain import method_named, methods

    console = Console(highlight=False)
    if method is not None:
        _tell(console, method_named(method))
        return
    table = _table("method", "tier", "explains", "what it is", "parameters")
    for registered in methods():
        table.add_row(
            registered.name,
            registered.tier,
            ", ".join(registered.tasks) or "all tasks",
            _first_line(registered),
            _defaults(registered),
        )
    console.print(table)


def _tell(console: Console, method: AnyMethod) -> None:
    from rich.text import Text

    facts = [
        f"tier {method.tier}; {method.kind}; in units of the {method.unit}; {'' if method.signed else 'not '}signed",
        f"explains: {', '.join(method.tasks) or 'all tasks'}",
    ]
    if method.stochastic:
        facts.append("draws random numbers: another seed gives another map")
    if not method.deliverable:
        facts.append("for research only: its maps are never sent")
    console.print(method.name, style="bold", markup=False)
    console.print("\n".join(facts), markup=False)
    console.print(f"\n{inspect.getdoc(method) or ''}\n", markup=False)
    parameters = method.Parameters
    if not parameters.model_fields:
        console.print("It has no parameters.")
        return
    console.print(inspect.getdoc(parameters) or "", markup=False)
    table = _table("parameter", "value", "default")
    properties = parameters.model_json_schema()["properties"]
    for name, field in parameters.model_fields.items():
        default = parameter_text({name: field.default}).partition("=")[2]
        table.add_row(name, Text(_values(properties[name])), default)
    console.print(table)


_PLAIN = {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text", "null": "null"}
_LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def _values(schema: Mapping[str, Any]) -> str:
    """What a parameter may be, in words, from its JSON Schema."""
    if "anyOf" in schema:
        return " or ".join(map(_values, schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    limits = [f"{sign} {schema[key]}" for key, sign in _LIMITS.items() if key in schema]
    return ", ".join([_PLAIN.get(schema.get("type", ""), "value"), *limits])


def _table(*columns: str) -> Table:
    """A table that folds on a narrow terminal and cuts nothing."""
    from rich.table import Table

    table = Table()
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _first_line(method: AnyMethod) -> Text:
    from rich.text import Text

    return Text((inspect.getdoc(method) or "").partition("\n")[0])


def _defaults(method: AnyMethod) -> str:
    return parameter_text({name: field.default for name, field in method.Parameters.model_fields.items()})


@app.command()
def init(
    graph: Annotated[Path, typer.Argument(help="The ONNX file.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file to write; model.yaml beside the graph by default.")
    ] = None,
) -> None:
    """Write a manifest for an ONNX file, as far as the file says what it is; the rest is left to be filled in.

    What only the model's maker knows is empty, with a comment that says what belongs there, and the package is refused
    until it is there. Then `whyray package onboard` installs and measures it (docs/packages.md, "Bring your ONNX
    file").

    Example: `whyray package init my-model.onnx`.

    Exit code 2: the file is no graph that takes an image, or there is a manifest already.
    """
    from rich.console import Console

    from whyray.base.errors import PackageError
    from whyray.packages import MANIFEST, draft_manifest

    path = out or graph.with_name(MANIFEST)
    if path.exists():
        raise PackageError(f"{path} is there already", advice="Name another file with --out.")
    text = draft_manifest(graph)
    path.write_text(text, "utf-8")
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{path}: fill in what is empty, then", markup=False)
    console.print(f"whyray package onboard {graph} --manifest {path} --images FOLDER --out packages/", markup=False)


@app.command()
def check(reference: Reference, folder: Folder = None) -> None:
    """Read a package, load its graph and run it once; say what of it is explained, and what it lacks beside it.

    Of a companion (scope, anatomy, autoencoder) that is missing it says what that means for readers, and how to add
    it.

    Example: `whyray package check ./packages/my-model/1.0.0`.

    Exit code 0: it is in order, perhaps with warnings; 1: something is wrong with it; 2: there is no such package.
    """
    from rich.console import Console

    from whyray.onboarding import checked_package
    from whyray.packages import find_package

    path = find_package(reference, folder or ())
    checked = checked_package(path, search=folder or ())
    console = Console(highlight=False, soft_wrap=True)
    for finding in checked.findings:
        console.print(finding.severity, style="red" if finding.severity == "error" else "yellow", end=" ")
        console.print(f"{finding.message}\n  {finding.advice}", markup=False)
    for line in (*checked.explained, *checked.beside):
        console.print(line, markup=False)
    if any(finding.severity == "error" for finding in checked.findings):
        raise typer.Exit(1)
    named = path.resolve()
    console.print(f"{named.parent.name}@{named.name} is in order", markup=False)
