"""`whyray explain`: how a scientist tries a model: files in, DICOM, pictures and a report out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whyray.base.sources import system_clock
from whyray.cli.options import DEFAULT_CONFIG

if TYPE_CHECKING:
    from whyray.config import Config

WITHHELD = 3
"""Exit code where all was made and the evaluation of an explanation withholds it."""


class Reader(StrEnum):
    """Who pages are made for."""

    radiologist = "radiologist"
    scientist = "scientist"
    administrator = "administrator"


class Modality(StrEnum):
    """What a NIfTI volume is taken as."""

    CT = "CT"
    MR = "MR"
    PT = "PT"


class Device(StrEnum):
    """Where the model runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


def explain(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="DICOM files of one study, 8- or 16-bit grey PNG or JPEG pictures, NIfTI volumes, or folders of these."
        ),
    ],
    package: Annotated[
        str,
        typer.Option("--package", "-p", help="NAME, NAME@VERSION, or a package folder. See `whyray package list`."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for dicom/, pictures/ and report.json of this run.")],
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace the results of an earlier run in --out: the files that its report.json lists, no others.",
        ),
    ] = False,
    modality: Annotated[
        Modality | None,
        typer.Option(
            help="What the values of a NIfTI volume are, since it does not say so itself: CT (Hounsfield units), MR or "
            "PT. Needed for NIfTI, and for nothing else.",
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            "-m",
            help="Explanation method; may be repeated. See `whyray package methods`. Or a group: preferred (the "
            "map that proved best), all, radiologist, scientist, administrator. [default: preferred]",
        ),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param", help="METHOD.NAME=VALUE, a parameter of a method, e.g. rise.masks=500; may be repeated."
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target", "-t", help="Target to explain, or 'all', or 'present'; may be repeated. [default: present]"
        ),
    ] = None,
    audience: Annotated[
        Reader | None,
        typer.Option(
            help="Who the pages are for: radiologist, scientist (with every measurement) or administrator (the first "
            "page alone). [default: by the methods]",
            show_default=False,
        ),
    ] = None,
    prevalence: Annotated[
        list[str] | None,
        typer.Option(
            help="TARGET=SHARE, how common a finding is where the images come from, e.g. 'Lung Opacity=2%'; may be "
            "repeated. Its probability and threshold are moved there from the prevalence that the package states."
        ),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--as",
            help="Kind of DICOM result: sc, seg, sr, pm, gsps, blend, ko, pdf, cine; may be repeated. "
            "[default: sc, seg, sr]",
        ),
    ] = None,
    language: Annotated[str, typer.Option(help="Language of the wording: en, de, fr, es, ja.")] = "en",
    seed: Annotated[
        int | None, typer.Option(help="Seed of the methods and measurements that draw random numbers. [default: 0]")
    ] = None,
    device: Annotated[
        Device, typer.Option(help="Where the model runs: auto (a GPU where there is one), cpu or cuda.")
    ] = Device.auto,
    timings: Annotated[
        bool, typer.Option("--timings", help="Show where the time went, stage by stage; report.json always says it.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Take package and template folders from this file.", show_default=False),
    ] = None,
) -> None:
    """Explain files without a PACS and without a queue.

    Writes DICOM results (dicom/), the same pages as PNG (pictures/) and every number with its quality (report.json).
    Without --target, the findings that the model reports as present are explained, or the nearest one. A folder that
    holds results already is refused without --overwrite, so that no two runs or patients are mixed; results come into
    it all at once, at the end.

    Examples:

    * `whyray explain chest.dcm --package cxr-findings --out out/`
    * `whyray explain chest.dcm -p cxr-findings -m radiologist -o out/` (what suits a reader; `-m all`: everything)
    * `whyray explain chest.png -p cxr-findings -m grad-cam -m rise --param rise.masks=500 -t Effusion -o out/`
    * `whyray explain head.nii.gz --modality CT -p head-ct-tissue -o out/` (left and right by the file's own affine)

    Exit code 0: all that was asked for was made. 3: it was made, and the evaluation of an explanation withholds it;
    1: a file or a method was refused; report.json says which and why. 2: nothing was made; the error says what to do.
    """
    from whyray.base.allocator import share_arenas
    from whyray.base.uncollected import uncollected

    share_arenas()
    with uncollected(for_good=True):
        from whyray.base.pydicom_without_pixels import import_pydicom_to_decode

        import_pydicom_to_decode()

        from whyray.base.errors import NotFound
        from whyray.base.shown import shown_path
        from whyray.cli.parameters import method_requests, prevalences
        from whyray.cli.screen import print_report, print_stages, progress_bar
        from whyray.config import DEFAULT_KINDS, reader_of, result_kinds
        from whyray.explain import expanded
        from whyray.inference import RuntimeOptions, load_package
        from whyray.jobs.explanation_request import ExplanationRequest
        from whyray.jobs.files import explain_files
        from whyray.results import load_templates

    for path in paths:
        if not path.exists():
            missing = f"there is no file or folder {shown_path(path)}"
            raise NotFound(missing, advice="Name files, or folders that hold them.")
    site = _site(config)
    templates = load_templates(site.templates.folder if site else None)
    templates.wording(language)
    artefacts = (site.artefact_folder,) if site else ()
    model = load_package(
        package,
        search=site.packages.folders if site else (),
        options=RuntimeOptions(device=device.value, artefacts=artefacts),
    )
    asked = expanded({name: {} for name in method or ["preferred"]}, model)
    methods = method_requests(asked, param or (), seed=seed)
    for name in target or ():
        if name not in ("all", "present"):
            model.target_index(name)
    shares = prevalences(prevalence or ())
    model.at_prevalence(shares)
    wish = ExplanationRequest(
        methods=methods,
        targets="present" if not target or target == ["present"] else "all" if "all" in target else tuple(target),
        seed=seed or 0,
        prevalence=shares,
        language=language,
        phrases=site.templates.folder if site else None,
    )
    with progress_bar() as progress:
        report = explain_files(
            paths,
            model,
            wish,
            out,
            templates=templates,
            at=system_clock(),
            progress=progress,
            language=language,
            kinds=result_kinds(kind) if kind else DEFAULT_KINDS,
            audience=audience.value if audience else reader_of(method or ()),
            modality=modality.value if modality else None,
            overwrite=overwrite,
        )
    print_report(report, out, templates.wording(language))
    if timings:
        print_stages(report)
    if report.refused:
        raise typer.Exit(1)
    if report.withheld:
        raise typer.Exit(WITHHELD)


def _site(config: Path | None) -> Config | None:
    """What the file says that was named, or else the default one where it is there."""
    path = config or (DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() else None)
    if path is None:
        return None
    from whyray.config import load_config

    return load_config(path)
