"""`whyray package units`: network dissection and activation maximisation of a package's units, for unit-report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whyray.base.shown import shown_path
from whyray.cli.explain import Device

if TYPE_CHECKING:
    from whyray.onboarding import UnitSurvey


def survey_package(
    reference: Annotated[str, typer.Argument(help="NAME, NAME@VERSION, or a package folder.")],
    images: Annotated[
        list[Path],
        typer.Option("--images", "-i", help="DICOM files, grey PNG or JPEG pictures, or folders; may be repeated."),
    ],
    masks: Annotated[
        Path | None,
        typer.Option(
            help="Folder of masks, CONCEPT/IMAGE.png, of the size of the image that they are called after.",
            show_default=False,
        ),
    ] = None,
    anatomy: Annotated[
        str | None,
        typer.Option(
            help="A package that segments anatomy: its structures are concepts. [default: the package's companion]"
        ),
    ] = None,
    zones: Annotated[
        bool, typer.Option("--zones", help="Lungs by upper, mid and lower zone: a whole lung is too large to be found.")
    ] = False,
    layer: Annotated[
        str | None, typer.Option(help="A tensor of the graph, (N, units, …). [default: the feature maps]")
    ] = None,
    patches: Annotated[
        bool,
        typer.Option(
            help="Keep what excites units most, cut from the images. Text that is burned in may name a patient: images "
            "that say so by Burned In Annotation are left out, all others are not looked through."
        ),
    ] = True,
    reconstructed: Annotated[
        bool,
        typer.Option(
            "--reconstructed",
            help="Cut patches from the reconstructions of the package's autoencoder companion, marked SYNTHETIC: they "
            "may be given away.",
        ),
    ] = False,
    maximise: Annotated[
        int, typer.Option(min=0, max=256, help="Make pictures that excite so many units. Slow; needs gradients (T2).")
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="A site's folder of artefacts; units.npz and units.html come to NAME/VERSION/ in it. Without, they "
            "are left in the package's onboarding/ folder.",
            show_default=False,
        ),
    ] = None,
    folder: Annotated[
        list[Path] | None, typer.Option("--folder", "-f", help="Also look for NAME/VERSION/ in here.")
    ] = None,
    source: Annotated[str, typer.Option(help="Which images these are, in words that name nobody.")] = "a site's own",
    licence: Annotated[str, typer.Option(help="Under what terms it may be used.")] = "for this site's own use",
    most: Annotated[int, typer.Option(min=8, help="Take at most so many images, evenly chosen.")] = 500,
    seed: Annotated[int, typer.Option(help="Seed of permutations and of the pictures that are made.")] = 0,
    device: Annotated[
        Device, typer.Option(help="Where the model runs: auto (a GPU where there is one), cpu or cuda.")
    ] = Device.auto,
) -> None:
    """Survey the units of a package's layer on a site's own images: what unit-report needs.

    Keeps how strongly each unit fires among the images, which concept it detects (network dissection, where masks or
    an anatomy package are at hand), what excites the most important ones, and pictures that were made to excite them.
    Writes units.npz, and units.html to look at. With --patches, the default, both hold cuts of the images: don't give
    them away.

    Examples:

    * `whyray package units cxr-findings --images archive/2024/`
    * `whyray package units my-model -i pictures/ --masks masks/ --maximise 16 --out /srv/whyray/artefacts`

    Exit code 0: all images were taken. 1: some were refused, and are told. 2: nothing was written.
    """
    import numpy as np

    from whyray.base.errors import NotFound
    from whyray.cli.screen import image_files, progress_bar
    from whyray.explain.units import UNITS, layer_named
    from whyray.inference import RuntimeOptions, load_package
    from whyray.onboarding import UnitSurveyOptions, survey_units
    from whyray.onboarding.unit_images import unit_images
    from whyray.onboarding.units_page import units_page
    from whyray.packages import ONBOARDING, write_artefact

    for path in (*images, *([masks] if masks else [])):
        if not path.exists():
            raise NotFound(
                f"there is no file or folder {shown_path(path)}", advice="Name images, or folders that hold them."
            )
    model = load_package(reference, search=folder or (), options=RuntimeOptions(device=device.value))
    chosen = layer_named(model, layer)
    with progress_bar() as progress:
        references, refused = unit_images(
            model,
            image_files(images),
            masks=masks,
            anatomy=anatomy,
            pictures="none" if not patches else "reconstructed" if reconstructed else "as they are",
            most=most,
            zones=zones,
            progress=lambda done, words: progress(0.3 * done, words),
        )
        survey = survey_units(
            model,
            references,
            chosen,
            wanted=UnitSurveyOptions(maximise=maximise),
            source=source,
            licence=licence,
            made=_today(),
            synthetic=reconstructed,
            rng=np.random.default_rng(seed),
            progress=lambda done, total, words: progress(0.3 + 0.7 * done / max(total, 1), words),
        )
    manifest = model.manifest
    place = model.package.folder / ONBOARDING if out is None else out / manifest.name / manifest.version
    write_artefact(place / f"{UNITS}.npz", survey.facts, survey.arrays)
    (place / f"{UNITS}.html").write_text(units_page(survey), encoding="utf-8")
    _tell(survey, place / f"{UNITS}.npz", refused)
    if refused:
        raise typer.Exit(1)


def _today() -> Any:
    from whyray.base.sources import system_clock

    return system_clock().date()


def _tell(survey: UnitSurvey, path: Path, refused: list[str]) -> None:
    from rich.console import Console

    console = Console(highlight=False)

    def say(words: str, style: str | None = None) -> None:
        console.print(words, markup=False, soft_wrap=True, style=style)

    details = survey.facts.details
    say(f"{details['units']} units of {details['layer']}, surveyed on {survey.facts.count} images")
    if details["concepts"]:
        chance = details["units with a concept by chance"]
        say(
            f"{details['units with a concept']} detect one of {len(details['concepts'])} concepts (by chance: {chance})"
        )
    else:
        say("no masks and no anatomy: no unit is named by a concept", "yellow")
    for maximised in survey.maximised:
        highest = float(survey.arrays["highest"][survey.arrays["maximised_of"].tolist().index(maximised.unit)])
        say(
            f"unit {maximised.unit}: pictures reach {maximised.reached.mean():.3g}, the highest reference {highest:.3g}"
        )
    for words in refused:
        say(f"refused: {words}", "yellow")
    say(f"{shown_path(path)} and {path.with_suffix('.html').name}")
