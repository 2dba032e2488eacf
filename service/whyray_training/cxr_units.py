"""Survey the units of the chest package: `python -m whyray_training.cxr_units --data DIR --package DIR`."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from whyray.base.sources import system_clock
from whyray.explain.units import UNITS, layer_named
from whyray.inference import RuntimeOptions, load_package
from whyray.onboarding import UnitSurvey, UnitSurveyOptions, survey_units
from whyray.onboarding.unit_images import unit_images
from whyray.packages import write_artefact
from whyray_training.package import name_artefact

SOURCE = (
    "NIH ChestX-ray14 (Wang et al., CVPR 2017; NIH Clinical Center): 399 radiographs. Patches are cut from what the "
    "autoencoder cxr-autoencoder made of them, and chosen by how the model sees that"
)
LICENCE = "The NIH states that use of the images is unrestricted, with acknowledgement and citation"


def main(
    data: Annotated[Path, typer.Option(help="Folder that holds nih-cxr.")],
    package: Annotated[Path, typer.Option(help="Package folder of cxr-findings; units.npz is written there.")],
    maximise: Annotated[int, typer.Option(help="Pictures that excite so many units.")] = 12,
    limit: Annotated[int, typer.Option(help="At most so many radiographs.")] = 399,
    seed: Annotated[int, typer.Option(help="Of permutations and of the pictures that are made.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads of ONNX Runtime.")] = 1,
    day: Annotated[str, typer.Option(help="The day that the artefact says it was made on. [default: today]")] = "",
) -> None:
    """Survey the feature maps on the radiographs; concepts are the structures of the anatomy companion.

    No radiograph is kept, in whatever size: pictures in the artefact were made by the decoder.
    """
    model = load_package(package, options=RuntimeOptions(intra_op_threads=threads))
    files = sorted((data / "nih-cxr" / "images").glob("*.png"))
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns) as progress:
        bar = progress.add_task("reading", total=1.0)
        images, refused = unit_images(
            model,
            files,
            masks=None,
            anatomy=None,
            pictures="reconstructed",
            most=limit,
            progress=lambda done, words: progress.update(bar, completed=0.4 * done, description=words),
        )
        survey = survey_units(
            model,
            images,
            layer_named(model, None),
            wanted=UnitSurveyOptions(patches=3, maximise=maximise),
            source=SOURCE,
            licence=LICENCE,
            made=date.fromisoformat(day) if day else system_clock().date(),
            synthetic=True,
            rng=np.random.default_rng(seed),
            progress=lambda done, total, words: progress.update(
                bar, completed=0.4 + 0.6 * done / total, description=words
            ),
        )
    write_artefact(package / f"{UNITS}.npz", survey.facts, survey.arrays)
    name_artefact(package, UNITS, f"{UNITS}.npz")
    _show(Console(), survey, refused, package / f"{UNITS}.npz")


def _show(console: Console, survey: UnitSurvey, refused: list[str], path: Path) -> None:
    concept, iou = survey.arrays["concept"], survey.arrays["iou"]
    for key, value in survey.facts.details.items():
        console.print(f"{key}: {value}", markup=False)
    for index, name in enumerate(survey.facts.details["concepts"]):
        own = np.flatnonzero(concept == index)
        best = own[np.argsort(-iou[own])][:3]
        told = ", ".join(f"{unit} {iou[unit]:.2f}" for unit in best)
        console.print(f"{name}: {len(own)} units, the best: {told or 'none'}", markup=False)
    for maximised in survey.maximised:
        highest = survey.arrays["highest"][survey.arrays["maximised_of"].tolist().index(maximised.unit)]
        console.print(f"unit {maximised.unit}: reached {maximised.reached.mean():.2f}, highest reference {highest:.2f}")
    console.print(f"{path.name}: {path.stat().st_size} bytes; refused: {len(refused)}", markup=False)


if __name__ == "__main__":
    typer.run(main)
