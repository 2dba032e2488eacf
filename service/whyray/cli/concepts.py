"""`whyray concepts`: teach a package words of your own, and see how well it knows them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whyray.base.shown import shown_path
from whyray.base.sources import system_clock
from whyray.cli.explain import Device
from whyray.cli.options import DEFAULT_CONFIG

if TYPE_CHECKING:
    from whyray.explain.concepts import Concept
    from whyray.inference import Model
    from whyray.onboarding import Examples

app = typer.Typer(
    no_args_is_help=True, help="Concepts: teach a package words of your own, for tcav, rcv and post-hoc-concepts."
)
Reference = Annotated[str, typer.Argument(help="NAME, NAME@VERSION, or a package folder.")]
Folder = Annotated[list[Path] | None, typer.Option("--folder", "-f", help="Also look for NAME/VERSION/ in here.")]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="Take package folders and the folder of artefacts from this file.", show_default=False
    ),
]
_UNIT = re.compile(r"(?P<name>.*\S)\s*\[(?P<unit>[^\]]+)\]")


@dataclass(frozen=True)
class Column:
    """One column of the labels: a concept that is there or not, or a measure."""

    header: str
    concept: Concept


@app.command()
def fit(
    reference: Reference,
    images: Annotated[
        list[Path],
        typer.Option("--images", "-i", help="DICOM files, grey PNG or JPEG pictures, or folders; may be repeated."),
    ],
    labels: Annotated[
        Path,
        typer.Option(
            "--labels",
            "-l",
            help="CSV file: image (a file name or SOP Instance UID), and a column for each concept. "
            "1 and 0: it is there or not; other numbers: a measure, its unit in brackets (age [a]); empty: unknown.",
        ),
    ],
    concept: Annotated[
        list[str] | None,
        typer.Option("--concept", help="Take only this column; may be repeated. [default: all with numbers]"),
    ] = None,
    patient: Annotated[
        str | None,
        typer.Option(help="The column that tells which images are of one patient. [default: DICOM's Patient ID]"),
    ] = None,
    image_measures: Annotated[
        bool,
        typer.Option(
            help="Also measure each image's brightness, contrast and sharpness, and with an anatomy package the "
            "cardiothoracic ratio, for rcv."
        ),
    ] = True,
    layer: Annotated[
        str | None,
        typer.Option(
            help="Tensor of the graph in which tcav and rcv look. [default: the last behind which the network bends]"
        ),
    ] = None,
    copies: Annotated[int, typer.Option(min=2, help="Resampled copies of each concept's vector, for intervals.")] = 20,
    random: Annotated[int, typer.Option(min=20, help="Random vectors that concepts are tested against.")] = 50,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder of artefacts to write NAME/VERSION/concepts.npz into. [default: that of --config, else the "
            "package's onboarding folder]",
            show_default=False,
        ),
    ] = None,
    config: Config = None,
    folder: Folder = None,
    source: Annotated[str, typer.Option(help="Which images these are, in words that name nobody.")] = "a site's own",
    licence: Annotated[str, typer.Option(help="Under what terms the artefact may be used.")] = "for this site's use",
    most: Annotated[int, typer.Option(min=20, help="Take at most so many images, evenly chosen.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of splits, resampling and random vectors.")] = 0,
    device: Annotated[
        Device, typer.Option(help="Where the model runs: auto (a GPU where there is one), cpu or cuda.")
    ] = Device.auto,
) -> None:
    """Learn what concepts look like inside a package, from images in which you know them.

    Writes the artefact 'concepts': directions in the network for tcav and rcv, and a stand-in for its head that
    answers from concepts alone for post-hoc-concepts. It holds numbers of the whole set, no image and no identity.
    A concept needs 10 images that show it and 10 that don't; 50 of each are better. A column that is called as one of
    the package's targets also says which images are of that class. Images of one patient are never on both sides of a
    split. Read the figures: a concept below AUC 0.7 (R² 0.3) is marked unreliable wherever it is shown, and a stand-in
    that agrees less than 0.9 with the network is not shown at all.

    Examples:

    * `whyray concepts fit cxr-findings --images archive/ --labels labels.csv`
    * `whyray concepts fit my-model -i films/ -l labels.csv --concept "chest tube" --patient patient --out artefacts/`

    Exit code 0: all images and columns were taken. 1: some were not, and are told. 2: nothing was written.
    """
    from rich.console import Console

    from whyray.base.errors import NotFound
    from whyray.cli.concepts_screen import tell_concepts
    from whyray.cli.screen import progress_bar
    from whyray.explain.concepts import KIND, held
    from whyray.onboarding import ConceptRecipe, fit_bank
    from whyray.packages import ArtefactFacts, graph_digest, read_artefact, write_artefact

    for path in images:
        if not path.exists():
            raise NotFound(
                f"there is no file or folder {shown_path(path)}", advice="Name images, or folders that hold them."
            )
    model, site = _model(reference, folder, config, device.value)
    columns, left_out = _columns(labels, concept, patient)
    with progress_bar() as progress:
        examples, refused = _examples(
            model, images, labels, columns, patient, image_measures, most, lambda at, words: progress(at / 3, words)
        )
        examples, few = _enough(examples, [column.concept.name for column in columns])
        bank = fit_bank(
            model,
            examples,
            ConceptRecipe(copies=copies, random=random, seed=seed, layer=layer),
            lambda done, total, words: progress(0.33 + 0.67 * done / max(total, 1), words),
        )
    details, arrays = held(bank)
    facts = ArtefactFacts(
        kind=KIND,
        graph=graph_digest(model),
        package=model.identity,
        made=system_clock().date(),
        count=bank.count,
        source=source,
        licence=licence,
        details=details,
    )
    place = _place(model, out, site)
    write_artefact(place, facts, arrays)
    console = Console(highlight=False)
    tell_concepts(console, model, read_artefact(place), bank)
    for words in (*left_out, *few, *(f"refused: {reason}" for reason in refused)):
        console.print(words, markup=False, style="yellow")
    console.print(str(place), markup=False, soft_wrap=True)
    if refused or few or left_out:
        raise typer.Exit(1)


@app.command()
def show(reference: Reference, folder: Folder = None, config: Config = None) -> None:
    """Show the concepts that a package knows, how well it knows them, and where they come from.

    Example: `whyray concepts show cxr-findings`.

    Exit code 0: it has concepts. 2: it has none; the advice says how to make them.
    """
    from rich.console import Console

    from whyray.cli.concepts_screen import tell_concepts
    from whyray.explain.concepts import KIND, find_bank
    from whyray.packages import require_artefact

    model, _ = _model(reference, folder, config, "cpu")
    artefact = require_artefact(
        model,
        KIND,
        method="whyray concepts show",
        advice=f"`whyray concepts fit {model.identity} --images DIR --labels labels.csv` makes it.",
    )
    bank = find_bank(model)
    assert bank is not None
    console = Console(highlight=False)
    tell_concepts(console, model, artefact, bank)
    console.print(str(artefact.path), markup=False, soft_wrap=True)


def _model(
    reference: str, folder: list[Path] | None, config: Path | None, device: str
) -> tuple[Model, tuple[Path, ...]]:
    """The package, and the site's folders of artefacts."""
    from whyray.config import load_config
    from whyray.inference import RuntimeOptions, load_package

    site = load_config(config) if config else load_config(DEFAULT_CONFIG) if DEFAULT_CONFIG.is_file() else None
    artefacts = (site.artefact_folder,) if site else ()
    search = (*(folder or ()), *(site.packages.folders if site else ()))
    options = RuntimeOptions(
        device="auto" if device == "auto" else "cuda" if device == "cuda" else "cpu", artefacts=artefacts
    )
    return load_package(reference, search=search, options=options), artefacts


def _place(model: Model, out: Path | None, site: Sequence[Path]) -> Path:
    from whyray.explain.concepts import KIND
    from whyray.packages import ONBOARDING

    base = out or (site[0] if site else None)
    folder = model.package.folder / ONBOARDING if base is None else base / model.manifest.name / model.manifest.version
    return folder / f"{KIND}.npz"


def _columns(labels: Path, wanted: list[str] | None, patient: str | None) -> tuple[list[Column], list[str]]:
    """What the columns are, by their content; and words about those that hold no numbers."""
    from whyray.base.errors import ConfigError
    from whyray.explain.concepts import Concept
    from whyray.onboarding.images import csv_rows

    rows = [row for _, row in csv_rows(labels, ("image", *(wanted or ()), *([patient] if patient else [])))]
    headers = [header for header in (rows[0] if rows else {}) if header not in ("image", patient) and header]
    columns, left_out = [], []
    for header in wanted or headers:
        texts = {(row[header] or "").strip() for row in rows} - {""}
        numbers = {_number(text) for text in texts}
        if None in numbers or not numbers:
            if wanted:
                raise ConfigError(f"{labels}: column {header!r} holds no numbers only", advice="Write 1, 0 or numbers.")
            left_out.append(f"left out: column {header!r} does not hold numbers only")
            continue
        unit = _UNIT.fullmatch(header)
        if numbers <= {0.0, 1.0}:
            columns.append(Column(header, Concept(header, "presence", 0)))
        else:
            columns.append(
                Column(
                    header, Concept(unit["name"] if unit else header, "measure", 0, unit=unit["unit"] if unit else "")
                )
            )
    if not columns:
        raise ConfigError(
            f"{labels}: no column holds a concept",
            line=1,
            advice="Give each concept a column of 1 and 0, or a measure.",
        )
    return columns, left_out


def _examples(
    model: Model,
    images: Sequence[Path],
    labels: Path,
    columns: Sequence[Column],
    patient: str | None,
    image_measures: bool,
    most: int,
    progress: object,
) -> tuple[Examples, list[str]]:
    """All images that a row of the labels names, with what it says; and why others could not be taken."""
    import numpy as np

    from whyray.base.errors import ImageError
    from whyray.cli.screen import image_files
    from whyray.explain import Case
    from whyray.explain.concepts import measure_concepts, measured
    from whyray.imaging import is_picture
    from whyray.onboarding import Examples
    from whyray.onboarding.images import Known, csv_rows, single_images

    said = {row["image"]: row for _, row in csv_rows(labels, ("image",))}
    files = image_files(images)
    known = [file for file in files if file.name in said or not is_picture(file)]
    read_images = single_images(known or files, model.manifest, Known(), most=most, progress=progress)  # type: ignore[arg-type]
    refused, x, values, targets, groups = [], [], [], [], []
    for image in read_images:
        if isinstance(image, str):
            refused.append(image)
            continue
        row = next((said[name] for name in sorted(image.names) if name in said), None)
        if row is None:
            refused.append(f"no row of {labels.name} is about {min(image.names)}")
            continue
        own = measured(Case(model, model.network.checked_input(image.image.x), [0])) if image_measures else {}
        x.append(image.image.x)
        values.append([_value(row, column.header) for column in columns] + list(own.values()))
        targets.append([_value(row, target) for target in model.targets])
        groups.append(row[patient] if patient else image.patient or f"image {len(x)}")
    if not x:
        raise ImageError(
            f"no image is in {labels.name} ({len(refused)} were looked at)",
            advice="Write file names or SOP Instance UIDs into the column 'image'.",
        )
    concepts = (*(column.concept for column in columns), *(measure_concepts(model) if image_measures else ()))
    _, numbers = np.unique(groups, return_inverse=True)
    return Examples(x, concepts, np.array(values, float), np.array(targets, float), numbers.astype(np.int64)), refused


def _enough(examples: Examples, asked: Sequence[str]) -> tuple[Examples, list[str]]:
    """The examples without columns that have too few of them; and words about those, unless WhyRay measured them."""
    from dataclasses import replace

    from whyray.base.errors import ConfigError
    from whyray.onboarding import too_few

    few = too_few(examples)
    stay = [number for number, concept in enumerate(examples.concepts) if concept.name not in few]
    words = [f"left out: {name} {why}" for name, why in few.items() if name in asked]
    if all(name in few for name in asked):
        raise ConfigError(
            f"too few examples of every concept: {'; '.join(f'{name} {why}' for name, why in few.items())}",
            advice="Label more images; 50 that show the concept and 50 that don't are a good start.",
        )
    concepts = tuple(examples.concepts[number] for number in stay)
    return replace(examples, concepts=concepts, values=examples.values[:, stay]), words


def _value(row: dict[str, str], header: str) -> float:
    number = _number((row.get(header) or "").strip())
    return float("nan") if number is None else number


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
