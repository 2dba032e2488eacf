"""Train the chest autoencoder: `python -m whyray_training.cxr_autoencoder --data DIR --out DIR`."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from whyray.inference import Autoencoder, RuntimeOptions, load_package
from whyray.packages import graph_digest
from whyray_training.cxr_autoencoder_card import autoencoder_card, autoencoder_manifest
from whyray_training.cxr_autoencoder_data import Lesson, Observer, lesson
from whyray_training.cxr_autoencoder_fit import Recipe, fit
from whyray_training.cxr_autoencoder_measure import after_refinement, likeness
from whyray_training.cxr_autoencoder_net import LATENTS, SIZE, with_components
from whyray_training.cxr_autoencoder_net import Autoencoder as Net
from whyray_training.cxr_data import load_radiographs, load_small_radiographs, patient_folds, together
from whyray_training.package import export_graph, write_package

FOLDS, HELD_OUT, SPLIT_SEED = 5, 0, 0
"""The split does not hang on the seed of a run: one that goes on from another must not see whom that one held out."""
LEAKY = 200
"""Training pictures that are measured too, to see how much is learned by heart."""


def main(
    data: Annotated[Path, typer.Option(help="Folder that holds nih-cxr and nih-cxr-64.")],
    out: Annotated[Path, typer.Option(help="Package folder NAME/VERSION to write; made where it is missing.")],
    classifier: Annotated[str, typer.Option(help="The package whose answers are to be kept.")] = "cxr-findings@1",
    steps: Annotated[int, typer.Option(help="Batches of eight.")] = Recipe.steps,
    copies: Annotated[int, typer.Option(help="Augmented copies of each radiograph.")] = Recipe.copies,
    limit: Annotated[int | None, typer.Option(help="Only the first so many images of each set: a trial run.")] = None,
    seed: Annotated[int, typer.Option(help="Of weights, augmentation and order.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads of torch and of ONNX Runtime.")] = 1,
    start: Annotated[Path | None, typer.Option(help="Weights (.pt) of an earlier run to go on from.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Where to leave the weights (.pt) for a later run.")] = None,
) -> None:
    """Train the chest autoencoder on four fifths of the patients, measure it on the others, and write the package.

    Takes about an hour on one free core, nearly all of it for the classifier's eyes on each batch.
    The images stay where they are: weights and figures are written.
    """
    warnings.filterwarnings("ignore", category=FutureWarning)
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    console, recipe = Console(), Recipe(copies=copies, steps=steps)
    observer = Observer(load_package(classifier, options=RuntimeOptions(intra_op_threads=threads)))
    radiographs, small = load_radiographs(data / "nih-cxr", limit), load_small_radiographs(data / "nih-cxr-64", limit)
    apart = [patient_folds(dataset.patients, FOLDS, SPLIT_SEED) == HELD_OUT for dataset in (radiographs, small)]
    training = together(radiographs.take(np.flatnonzero(~apart[0])), small.take(np.flatnonzero(~apart[1])))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as progress:
        bar = progress.add_task("what the classifier sees", total=len(training) * (1 + copies) + sum(map(sum, apart)))
        taught = lesson(training, copies, seed + 1, observer, lambda count: progress.advance(bar, count))
        held_out, held_out_small = (
            lesson(dataset.take(np.flatnonzero(mine)), 0, seed, observer, lambda count: progress.advance(bar, count))
            for dataset, mine in zip((radiographs, small), apart, strict=True)
        )
        net = with_components(Net(), taught.seen.astype(np.float32))
        if start is not None:
            net.load_state_dict(torch.load(start, weights_only=True))
        bar = progress.add_task("training", total=steps)

        def tell(terms: dict[str, float]) -> None:
            words = " ".join(f"{name} {value:.3g}" for name, value in terms.items())
            progress.update(bar, advance=1, description=f"training: {words}")

        fit(net, taught, observer, recipe, seed, tell)
    if keep is not None:
        torch.save(net.state_dict(), keep)
    out.mkdir(parents=True, exist_ok=True)
    example = torch.from_numpy(held_out.seen[:1].astype(np.float32))[:, None]
    parity = export_graph(net, example, out / "model.onnx", ("reconstruction", "latents"), half_weights=True)
    metrics: dict[str, Any] = {
        "seed": seed,
        "folds": FOLDS,
        "recipe": dataclasses.asdict(recipe),
        "continued": start is not None,
        "split_seed": SPLIT_SEED,
        "classifier": observer.model.identity,
        "classifier_digest": graph_digest(observer.model)[:12],
        "data": {
            "training_pictures": len(training),
            "training_patients": len(np.unique(training.patients)),
            "held_out_pictures": len(held_out),
            "held_out_small_pictures": len(held_out_small),
            "parameters": sum(parameter.numel() for parameter in net.parameters()),
            "latents": LATENTS,
            "size": SIZE,
        },
        "onnx_parity": parity,
    }
    write_package(out, autoencoder_manifest(), metrics, "")
    autoencoder = Autoencoder(load_package(out, options=RuntimeOptions(intra_op_threads=threads)))
    plain = Lesson(*(getattr(taught, field.name)[:LEAKY] for field in dataclasses.fields(Lesson)))
    for name, measured_on in {"held_out": held_out, "held_out_small": held_out_small, "training": plain}.items():
        metrics[name] = likeness(autoencoder, observer, measured_on, seed)
    metrics["refined"] = after_refinement(out, observer, held_out, seed)
    write_package(out, autoencoder_manifest(), metrics, autoencoder_card(metrics))
    for name in ("held_out", "training", "refined"):
        console.print(name, {key: figure for key, figure in metrics[name].items() if key != "targets"})


if __name__ == "__main__":
    typer.run(main)
