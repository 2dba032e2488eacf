"""What `whyray concepts` shows of an artefact: how well each concept is known, and if a stand-in is faithful."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from whyray.explain.concepts import ConceptBank
    from whyray.inference import Model
    from whyray.packages import Artefact


def tell_concepts(console: Console, model: Model, artefact: Artefact, bank: ConceptBank) -> None:
    """Print where the artefact comes from and what it is worth."""
    facts = artefact.facts
    console.print(
        f"{facts.package}: {facts.kind} of {facts.count} images, {facts.made}; {facts.source}; {facts.licence}",
        markup=False,
        soft_wrap=True,
    )
    _tell_outputs(console, model, bank)
    for tensor, rows in _concept_rows(bank):
        table = Table(title=tensor)
        for name in ("concept", "examples", "with it", "held out", "reliable"):
            table.add_column(name, justify="left" if name == "concept" else "right", overflow="fold")
        for cells in rows:
            table.add_row(*cells)
        console.print(table)
    reason = (bank.details or {}).get("no directions")
    if reason:
        console.print(f"no directions for tcav and rcv: {reason}", markup=False, style="yellow")
    if bank.surrogate is not None:
        table = Table(title="post-hoc-concepts: does a head on concepts alone answer as the network?")
        for name in ("target", "agreement held out", "random concepts", "shown"):
            table.add_column(name, justify="left" if name == "target" else "right", overflow="fold")
        for number, target in enumerate(bank.targets):
            agreement = bank.surrogate.agreement[number]
            table.add_row(
                target,
                f"{agreement:.2f}",
                f"{bank.surrogate.random_agreement[number]:.2f}",
                "yes" if agreement >= 0.9 else "[yellow]no: not faithful[/]",
            )
        console.print(table)


def _tell_outputs(console: Console, model: Model, bank: ConceptBank) -> None:
    """Concepts that the package computes itself, for concept-bottleneck."""
    from whyray.explain.concepts import LEAST_AUC

    spec = model.manifest.concepts
    if spec is None or bank.outputs is None:
        return
    table = Table(title=f"concept-bottleneck: concepts that the package computes in the tensor {spec.output}")
    for name in ("concept", "mean", "5th percentile", "95th percentile", "held out", "reliable"):
        table.add_column(name, justify="left" if name == "concept" else "right", overflow="fold")
    outputs = bank.outputs
    for number, concept in enumerate(spec.names):
        figure = float(outputs.auc[number])
        known = figure if figure == figure else concept.held_out_auc  # NaN: not labelled when it was made
        figures = (outputs.mean[number], outputs.low[number], outputs.high[number])
        table.add_row(
            concept.name,
            *(f"{value:.2f}" for value in figures),
            "–" if known is None else f"AUC {known:.2f}",
            "yes" if known is not None and known >= LEAST_AUC else "[yellow]no[/]",
        )
    console.print(table)


def _concept_rows(bank: ConceptBank) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    from whyray.explain.concepts import well_known

    for part, use in ((bank.surrogate, "post-hoc-concepts"), (bank.directions, "tcav and rcv")):
        if part is None:
            continue
        rows: list[tuple[str, ...]] = []
        for concept, figure in zip(bank.concepts, part.held_out, strict=True):
            reliable = well_known(concept, float(figure))
            rows.append(
                (
                    concept.label,
                    str(concept.examples),
                    str(concept.positives) if concept.kind == "presence" else "–",
                    f"{'AUC' if concept.kind == 'presence' else 'R²'} {figure:.2f}",
                    "yes" if reliable else "[yellow]no[/]",
                )
            )
        yield f"{use}: concepts in the tensor {part.tensor}", rows
