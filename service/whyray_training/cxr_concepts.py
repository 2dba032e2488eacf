"""Fit the concepts of the chest package: `python -m whyray_training.cxr_concepts --data DIR --package DIR`."""

from __future__ import annotations

import csv
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from whyray.base.coded_concept import CodedConcept
from whyray.base.sources import system_clock
from whyray.explain import Case
from whyray.explain.concepts import KIND, Concept, ConceptBank, held, measure_concepts, measured
from whyray.inference import Model, RuntimeOptions, load_package
from whyray.onboarding import Examples, fit_bank
from whyray.onboarding.concept_fitting import FEWEST, ConceptRecipe
from whyray.packages import ArtefactFacts, graph_digest, write_artefact
from whyray_training.cxr_augment import plain
from whyray_training.cxr_card import CODES
from whyray_training.cxr_data import FINDINGS, Radiographs, load_radiographs, load_small_radiographs, together
from whyray_training.cxr_goals import goals
from whyray_training.cxr_student import wanted
from whyray_training.package import name_artefact

SOURCE = (
    "NIH ChestX-ray14 (Wang et al., CVPR 2017; NIH Clinical Center): 399 radiographs, and 970 of other patients at "
    "64 × 64 pixels; labels mined from reports by the NIH, opinions of a published CheXNet (jrzech/reproduce-chexnet), "
    "view, sex and age from the NIH's table"
)
LICENCE = "The NIH states that use of the images is unrestricted, with acknowledgement and citation"
VIEW, FEMALE, AGE = "anteroposterior view", "female", "age"
_DCM = "DCM"
OWN_CODES = {
    VIEW: CodedConcept(value="399348003", scheme="SCT", meaning="Antero-posterior projection"),
    FEMALE: CodedConcept(value="248152002", scheme="SCT", meaning="Female"),
    AGE: CodedConcept(value="121033", scheme=_DCM, meaning="Subject Age"),
}


def main(
    data: Annotated[Path, typer.Option(help="Folder that holds nih-cxr and nih-cxr-64.")],
    package: Annotated[Path, typer.Option(help="Package folder of cxr-findings; concepts.npz is written there.")],
    limit: Annotated[int | None, typer.Option(help="Only the first so many images of each set: a trial run.")] = None,
    seed: Annotated[int, typer.Option(help="Of splits, resampling and random vectors.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads of torch and of ONNX Runtime.")] = 2,
    day: Annotated[str, typer.Option(help="The day that the artefact says it was made on. [default: today]")] = "",
) -> None:
    """Fit concept directions and the surrogate head on both sets of radiographs, and write the artefact."""
    torch.set_num_threads(threads)
    console = Console()
    model = load_package(package, options=RuntimeOptions(device="cpu", intra_op_threads=threads))
    examples = chest_examples(model, data, limit)
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console) as progress:
        bar = progress.add_task("images")
        bank = fit_bank(
            model,
            examples,
            ConceptRecipe(seed=seed),
            lambda done, total, words: progress.update(bar, completed=done, total=total, description=words),
        )
    made = date.fromisoformat(day) if day else system_clock().date()
    write_bank(package, model, bank, made, SOURCE)
    _show(console, bank)


def write_bank(package: Path, model: Model, bank: ConceptBank, made: date, source: str) -> None:
    """Write the artefact with its origin into the package, and name it in model.yaml."""
    details, arrays = held(bank)
    facts = ArtefactFacts(
        kind=KIND,
        graph=graph_digest(model),
        package=model.identity,
        made=made,
        count=bank.count,
        source=source,
        licence=LICENCE,
        details=details,
    )
    write_artefact(package / f"{KIND}.npz", facts, arrays)
    name_artefact(package, KIND, f"{KIND}.npz")


def chest_examples(model: Model, data: Path, limit: int | None = None) -> Examples:
    """Both sets with findings, view, sex, age and image measures.

    Readings of findings are fitted to what the package itself was fitted to, half the teacher's opinion, and measured
    against the NIH's labels. Sex, age and measures are known of the larger images only: the others are enlarged from
    64 pixels, which would make sharpness a mark of the set.
    """
    large, small = load_radiographs(data / "nih-cxr", limit), load_small_radiographs(data / "nih-cxr-64", limit)
    both = together(large, small)
    size = model.manifest.input.shape[0]
    x = [plain(torch.from_numpy(both.images[row : row + 1]), size).numpy() for row in range(len(both))]
    view = np.concatenate([_column(data / folder, "View Position", limit) for folder in ("nih-cxr", "nih-cxr-64")])
    columns = {finding: both.labels[:, number] for number, finding in enumerate(FINDINGS)}
    columns = {name: column for name, column in columns.items() if column.sum() >= FEWEST}
    columns[VIEW] = (view == "AP").astype(float)
    columns[FEMALE] = _of_large((_column(data / "nih-cxr", "Patient Gender", limit) == "F").astype(float), both)
    concepts = [Concept(name, "presence", 0, code=_code(name)) for name in columns]
    columns[AGE] = _of_large(_column(data / "nih-cxr", "Patient Age", limit).astype(float), both)
    concepts.append(Concept(AGE, "measure", 0, unit="a", code=OWN_CODES[AGE]))
    rows = [measured(Case(model, picture, [0])) for picture in x[: len(large)]]
    for measure in measure_concepts(model):
        columns[measure.name] = _of_large(np.array([row[measure.name] for row in rows]), both)
        concepts.append(replace(measure, code=OWN_CODES.get(measure.name)))
    values = np.column_stack(list(columns.values()))
    soft, opinion = np.full(values.shape, np.nan), wanted(goals(both))
    for number, name in enumerate(columns):
        if name in FINDINGS:
            soft[:, number] = opinion[:, FINDINGS.index(name)]
    return Examples(x, tuple(concepts), values, both.labels, both.patients, soft)


def _of_large(column: npt.NDArray[np.float64], both: Radiographs) -> npt.NDArray[np.float64]:
    return np.concatenate([column, np.full(len(both) - len(column), np.nan)])


def _column(folder: Path, name: str, limit: int | None) -> npt.NDArray[np.str_]:
    with (folder / "labels.csv").open(newline="") as file:
        return np.array([row[name] for row in csv.DictReader(file)][:limit])


def _code(name: str) -> CodedConcept | None:
    if name in OWN_CODES:
        return OWN_CODES[name]
    return (
        CodedConcept(**dict(zip(("value", "scheme", "meaning"), CODES[name], strict=True))) if name in CODES else None
    )


def _show(console: Console, bank: ConceptBank) -> None:
    for part in (bank.surrogate, bank.directions):
        assert part is not None
        known = ", ".join(
            f"{concept.name} {figure:.2f}" for concept, figure in zip(bank.concepts, part.held_out, strict=True)
        )
        console.print(f"{part.tensor}: {known}")
    assert bank.surrogate is not None
    for number, target in enumerate(bank.targets):
        agreement, random = bank.surrogate.agreement[number], bank.surrogate.random_agreement[number]
        console.print(f"{target}: agreement {agreement:.3f}, of random concepts {random:.3f}")


if __name__ == "__main__":
    typer.run(main)
