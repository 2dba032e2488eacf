"""Write down how bundled packages answer made pictures: `python -m whyray_training.known_answers PACKAGE_FOLDER …`.

After training, and after anything else that changes a graph. A card calls a package whose answers are others red.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from whyray.inference import RuntimeOptions, load_package
from whyray.packages import write_artefact
from whyray.quality.known_answers import KIND, known_answers
from whyray_training.package import name_artefact


def main(
    folders: Annotated[list[Path], typer.Argument(help="Package folders NAME/VERSION.")],
    made: Annotated[str, typer.Option(help="The day, as written into the artefact.")] = "2026-11-29",
) -> None:
    """Run each package on four pictures that are made by rule, and keep its logits beside the graph."""
    for folder in folders:
        model = load_package(folder, options=RuntimeOptions(device="cpu", intra_op_threads=1, cache=None))
        facts, arrays = known_answers(model, made=date.fromisoformat(made))
        write_artefact(folder / f"{KIND}.npz", facts, arrays)
        name_artefact(folder, KIND, f"{KIND}.npz")


if __name__ == "__main__":
    typer.run(main)
