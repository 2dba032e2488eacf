"""`whyray package index`: a site's own reference cases, for similar-cases and latent-position."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from whyray.base.shown import shown_path
from whyray.cli.explain import Device
from whyray.cli.options import DEFAULT_CONFIG


def index_package(
    reference: Annotated[str, typer.Argument(help="NAME, NAME@VERSION, or a package folder.")],
    images: Annotated[
        list[Path], typer.Argument(help="DICOM files, grey PNG or JPEG pictures, or folders; 20 images at least.")
    ],
    labels: Annotated[
        Path | None,
        typer.Option(
            help="CSV of what is known: image (a file name or SOP Instance UID), and 1 or 0 for each target.",
            show_default=False,
        ),
    ] = None,
    patient: Annotated[
        str | None,
        typer.Option(
            help="The column of --labels that tells which images are of one patient. [default: DICOM's Patient ID]"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="A site's folder of artefacts; the index becomes NAME/VERSION/reference-index.npz in it. [default: "
            "that of --config, else the package's onboarding folder]",
            show_default=False,
        ),
    ] = None,
    folder: Annotated[
        list[Path] | None, typer.Option("--folder", "-f", help="Also look for NAME/VERSION/ in here.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            help="Take package folders and the folder of artefacts from this file.",
            show_default=False,
        ),
    ] = None,
    outliers: Annotated[
        list[Path] | None,
        typer.Option(
            help="Images that the package is not made for (another body part), to see if they are told apart."
        ),
    ] = None,
    thumbnails: Annotated[
        bool,
        typer.Option(
            help="Keep pictures of at most 128 pixels. Text that is burned into the pixels may name a patient: images "
            "that say so by Burned In Annotation are kept without a picture, all others are not looked through."
        ),
    ] = True,
    umap: Annotated[
        bool, typer.Option(help="Fit a UMAP layout too, where umap-learn is installed (pip install whyray[umap]).")
    ] = True,
    source: Annotated[str, typer.Option(help="Which images these are, in words that name nobody.")] = "a site's own",
    licence: Annotated[str, typer.Option(help="Under what terms the index may be used.")] = "for this site's own use",
    most: Annotated[int, typer.Option(min=20, help="Take at most so many images, evenly chosen.")] = 5000,
    seed: Annotated[int, typer.Option(help="Seed of the split and of what is measured.")] = 0,
    device: Annotated[
        Device, typer.Option(help="Where the model runs: auto (a GPU where there is one), cpu or cuda.")
    ] = Device.auto,
) -> None:
    """Make a package's reference index of a site's own images.

    Holds what the model says of each image, what is known of it, and a thumbnail; no name, no identifier, no UID and
    no file name: references are called case-0001 and on, in an order that file names have no part in. Images of one
    patient (by Patient ID or --patient, neither is kept) are never on both sides of the split. The same images give
    the same index. It also measures what the index is worth, and says so: read it before you rely on it.

    Examples:

    * `whyray package index cxr-findings archive/2024/ --labels labels.csv`
    * `whyray package index cxr-findings pictures/ --no-thumbnails --out /srv/whyray/artefacts`

    Exit code 0: all images were taken. 1: some were refused, and are told. 2: no index was made.
    """
    from whyray.base.errors import ConfigError, NotFound
    from whyray.cli.screen import image_files, progress_bar
    from whyray.config import load_config
    from whyray.explain.latent import KIND, embedding_name, no_embedding
    from whyray.inference import RuntimeOptions, load_package
    from whyray.onboarding import thumbnail
    from whyray.onboarding.images import csv_rows, onboarding_images, read_known, single_images
    from whyray.onboarding.reference_index import Collected, IndexFacts, make_index
    from whyray.packages import ONBOARDING, write_artefact

    for path in (*images, *(outliers or ())):
        if not path.exists():
            raise NotFound(
                f"there is no file or folder {shown_path(path)}", advice="Name images, or folders that hold them."
            )
    site = load_config(config) if config else load_config(DEFAULT_CONFIG) if DEFAULT_CONFIG.is_file() else None
    search = (*(folder or ()), *(site.packages.folders if site else ()))
    model = load_package(reference, search=search, options=RuntimeOptions(device=device.value))
    manifest = model.manifest
    if embedding_name(model) is None:
        raise no_embedding(model)
    known = read_known(None, labels, list(model.targets))
    if patient is not None and labels is None:
        raise ConfigError("--patient names a column of --labels, and there is no --labels", advice="Name the CSV file.")
    columns = ("image",) if patient is None else ("image", patient)
    patients = {row["image"]: row[patient] for _, row in csv_rows(labels, columns)} if patient else {}
    collected, refused = Collected(model), []
    with progress_bar() as progress:
        files = image_files(images)
        for image in single_images(
            files, manifest, known, most=most, progress=lambda at, words: progress(at / 2, words)
        ):
            if isinstance(image, str):
                refused.append(image)
                continue
            x, keep = image.image.x, thumbnails and not image.burned_in
            picture = thumbnail(model, x) if keep else None
            group = next((patients[name] for name in sorted(image.names) if name in patients), image.patient)
            collected.add(x, dict(image.image.labels), group=group, picture=picture)
        others = (
            onboarding_images(image_files(outliers), manifest, known, most=200, progress=progress)[0]
            if outliers
            else []
        )
        told = IndexFacts(source, licence, _today(), umap=umap, seed=seed, outliers=tuple(other.x for other in others))
        facts, arrays = make_index(collected, told, progress=lambda at, words: progress(0.5 + at / 2, words))
    site_folder = out or (site.artefact_folder if site else None)
    own = model.package.folder / ONBOARDING
    place = own if site_folder is None else site_folder / manifest.name / manifest.version
    path = place / f"{KIND}.npz"
    write_artefact(path, facts, arrays)
    _tell(path, facts.details, facts.count, len(collected.entries), refused, known_of=len(known.labels), labels=labels)
    if refused:
        raise typer.Exit(1)


def _today() -> Any:
    from whyray.base.sources import system_clock

    return system_clock().date()


def _tell(
    path: Path,
    details: dict[str, Any],
    count: int,
    given: int,
    refused: list[str],
    *,
    known_of: int,
    labels: Path | None,
) -> None:
    from rich.console import Console

    console = Console(highlight=False)

    def say(words: str, style: str | None = None) -> None:
        console.print(words, markup=False, soft_wrap=True, style=style)

    say(f"{count} references" + (f"; {given - count} images were there twice" if given > count else ""))
    for plane, value in details["trustworthiness"].items():
        drawn = "" if value >= 0.9 else ": below 0.9, not drawn"
        say(f"{plane} plane: trustworthiness {value:.2f}{drawn}")
    for name, value in details["outlier AUROC"].items():
        kinds = ", ".join(f"{kind} {auroc:.2f}" for kind, auroc in details["outliers"][name].items())
        say(f"{name} distance tells outliers apart: AUROC {value:.2f} ({kinds})")
    shares = details["self-retrieval"]
    say("references found by themselves: " + ", ".join(f"{share:.0%} {name}" for name, share in shares.items()))
    foretold = [detail["r"] for detail in details["agreement"].values() if detail]
    if foretold:
        say(f"neighbours foretell the answer: correlation {min(foretold):.2f} to {max(foretold):.2f} by target")
    stage, overlap = details["randomised"]["stages"][-1]
    say(f"neighbours that stay with {stage} randomised: {overlap:.0%} (chance {details['randomised']['chance']:.0%})")
    if labels is not None and not known_of:
        say(f"no label of {labels} was used", "yellow")
    for words in refused:
        say(f"refused: {words}", "yellow")
    say(str(path))
