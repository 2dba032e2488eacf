"""Onboard bundled packages and leave the report in them: `python -m whyray_training.onboard_bundled --help`.

Where maps point is told on patients that the weights had not seen: by the packages of folds for those that learned from
the boxes, by the package itself for the others. No pixel, no embedding and no single map is kept: means over patients.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from whyray.base.errors import PackageError
from whyray.explain import NORMAL_MAPS, Progress, checked_parameters, heatmap_methods, method_named, why_not
from whyray.inference import Model, RuntimeOptions, load_package
from whyray.onboarding import OnboardingImage, onboard
from whyray.onboarding.normal_maps import keep_normal_maps
from whyray.packages import BUNDLED, MANIFEST, ONBOARDING, graph_digest, package_digest, read_manifest
from whyray.packages.localisation_report import best_first, localisation_in
from whyray.packages.randomisation_report import FEWEST_IMAGES
from whyray_training.methods_on_boxes import PAGE, renewed
from whyray_training.onboarding_radiographs import BOXED, fold_rows, heads_of, radiographs_of
from whyray_training.randomisation_of_bundled import with_randomisation

LOCAL = {"cxr-opacity": "cxr-opacity", "cxr-findings@2": "cxr-findings"}
"""Packages that learned from the boxes, and how the packages of their folds are called, before -fold0."""
OTHERS = ("cxr-findings@1", "cxr-abnormal", "cxr-prototypes", "cxr-anatomy", "head-ct-tissue", "cxr-scope")
"""Packages that did not. Without answers of their own, and so without a report: cxr-autoencoder, cxr-captioner."""
DEAREST = 3
"""Forward passes of a map that is put to the boxes."""
FORWARDS = 150
"""Passes a method for all boxes: all of them for maps that come with the answer, every second for gradients."""
_OF_IMAGES = ("calibration", "case space")
"""What is measured on images that the weights learned from, or kept of single images: the card tells the held-out."""


@dataclass(frozen=True)
class _Wishes:
    """What one run was asked for; `rows` by which patients are held out, where there are packages of folds."""

    data: Path
    folds: Path | None
    explained: int
    normals: int
    made: date
    threads: int
    gradients: bool = True
    progress: Progress | None = None

    @property
    def options(self) -> RuntimeOptions:
        return RuntimeOptions(device="cpu", intra_op_threads=self.threads, cache=None)


def main(
    data: Annotated[Path, typer.Option(help="Folder that holds nih-cxr, nih-cxr-64, nih-cxr-boxes and head-ct.")],
    packages: Annotated[list[str] | None, typer.Argument(help="NAME or NAME@VERSION. [default: all]")] = None,
    folds: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of packages of folds and fold-rows.csv; may be repeated (cxr_opacity_folds)."),
    ] = None,
    bundled: Annotated[Path, typer.Option(help="Where the packages lie.")] = BUNDLED,
    explained: Annotated[int, typer.Option(min=1, help="Images whose maps are graded and randomised.")] = 1,
    normals: Annotated[int, typer.Option(min=20, help="Images without findings that normal maps are made of.")] = 24,
    made: Annotated[str, typer.Option(help="The day that the artefacts name.")] = "2026-11-29",
    threads: Annotated[int, typer.Option(help="Threads of ONNX Runtime.")] = 1,
    gradients: Annotated[
        bool, typer.Option(help="Put methods that need gradients to the boxes, too: twice the time.")
    ] = True,
    same_graph: Annotated[
        bool, typer.Option(help="Measure nothing: let reports name cards that were written anew, of the same graphs.")
    ] = False,
    randomisation: Annotated[
        bool, typer.Option(help="Measure how maps change with the weights alone: needs no packages of folds.")
    ] = False,
) -> None:
    """Measure what the bundled packages can give, and write onboarding/report.json and normal-maps.npz into them.

    The tables of docs/trust.md follow from the reports and are written too.

    A package that learned from the boxes is refused without the packages of its folds.
    """
    console = Console()
    told: set[str] = set()

    def tell(_: int, __: int, words: str) -> None:
        what = words.partition(":")[0]
        if what not in told:
            told.add(what)
            console.print(f"  {what}", style="dim")

    for name in packages or [*LOCAL, *OTHERS]:
        folder = bundled_folder(bundled, name)
        if same_graph:
            if not (folder / ONBOARDING / "report.json").is_file():
                continue
            renew_digest(folder)
            console.print(f"{name}: the report names the package as it is now")
            continue
        if randomisation:
            if (folder / ONBOARDING / "report.json").is_file():
                options = RuntimeOptions(device="cpu", intra_op_threads=threads, cache=None)
                renew_randomisation(folder, options, data)
                console.print(f"{name}: how its maps change with the weights is measured anew")
            continue
        started = time.perf_counter()
        of_folds = _of_package(name, folds or [])
        wishes = _Wishes(data, of_folds, explained, normals, date.fromisoformat(made), threads, gradients, tell)
        report = onboarded(name, folder, wishes)
        _show(console, name, folder, report, time.perf_counter() - started)
    if bundled == BUNDLED:
        try:
            PAGE.write_text(renewed(PAGE.read_text("utf-8")), encoding="utf-8")
        except PackageError as error:  # another package was changed behind its report, and waits for its turn
            console.print(f"the tables of {PAGE.name} wait for it: {error}", style="yellow", markup=False)


def bundled_folder(bundled: Path, name: str) -> Path:
    """The folder NAME/VERSION/ of a package, the newest version where none is named. Raises ValueError without one."""
    package, _, version = name.partition("@")
    fitting = sorted(path.parent for path in bundled.glob(f"{package}/{version}*/{MANIFEST}"))
    if not fitting:
        raise ValueError(f"{bundled} has no {name}")
    return fitting[-1]


def onboarded(name: str, folder: Path, wishes: _Wishes) -> dict[str, Any]:
    """Onboard a copy of the package in `folder`, and leave what may be given away in its onboarding folder."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / folder.parent.name / folder.name
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(ONBOARDING))
        model = load_package(copy, options=wishes.options)
        images, learned = radiographs_of(model, wishes.data, wishes.normals)
        only = [method.name for method in heatmap_methods() if _affordable(model, method.name)]
        if not wishes.gradients:
            only = [method for method in only if method_named(method).tier != "T2"]
        contrasted = [method for method in only if method_named(method).tier != "T2"]
        held_out = None
        if any(image.truth for image in images):
            held_out = _held_out(name, model, images, learned, contrasted, wishes, Path(place))
        report = onboard(
            model,
            images,
            only=only,
            explained=wishes.explained,
            localised=len(images),
            keep_images=False,
            made=wishes.made,
            held_out=held_out,
            contrasted=contrasted,
            forwards=FORWARDS,
            this_machine=False,
            progress=wishes.progress,
        )
        # Refusals name files by where they lay.
        report = json.loads(json.dumps(report).replace(f"{copy}/", ""))
        report = {key: value for key, value in report.items() if key not in _OF_IMAGES}
        report["held out"] = _words(held_out, model)
        report["files"] = decisive_files(folder)
        shutil.rmtree(folder / ONBOARDING, ignore_errors=True)
        (folder / ONBOARDING).mkdir()
        if (copy / ONBOARDING / f"{NORMAL_MAPS}.npz").is_file():
            shutil.copy(copy / ONBOARDING / f"{NORMAL_MAPS}.npz", folder / ONBOARDING)
    _write(folder, report)
    return report


def renew_digest(folder: Path) -> None:
    """Let the report of a package name it as it is now. Raises ValueError where more than words were changed."""
    report = json.loads((folder / ONBOARDING / "report.json").read_text("utf-8"))
    digest, files = package_digest(folder), decisive_files(folder)
    changed = sorted(name for name, _ in report["files"].items() ^ files.items())
    if changed and report["digest"] != digest:
        raise ValueError(f"{folder}: {', '.join(dict.fromkeys(changed))} changed since it was onboarded: onboard it")
    _write(folder, {**report, "digest": digest, "files": files})


def renew_randomisation(folder: Path, options: RuntimeOptions, data: Path) -> None:
    """Measure how the maps of a package change with its weights, and write that into its report.

    Raises ValueError where more than its words were changed since it was onboarded.
    """
    renew_digest(folder)
    model = load_package(folder, options=options)
    images, _ = radiographs_of(model, data, FEWEST_IMAGES)
    report = json.loads((folder / ONBOARDING / "report.json").read_text("utf-8"))
    _write(folder, with_randomisation(model, report, images))


def _affordable(model: Model, name: str) -> bool:
    method = method_named(name)
    asked = checked_parameters(name, model.manifest.methods.get(name, {}))
    made_of_others = "of" in method.Parameters.model_fields
    return method.deliverable and method.cost(asked) <= DEAREST and (made_of_others or why_not(method, model) is None)


def _held_out(
    name: str,
    model: Model,
    images: list[OnboardingImage],
    learned: frozenset[str],
    contrasted: list[str],
    wishes: _Wishes,
    place: Path,
) -> dict[str, Model]:
    """By patient, a model that has not seen the patient, with normal maps of its own."""
    if name not in LOCAL:
        return {image.patient: model for image in images if image.patient not in learned}
    if wishes.folds is None:
        raise ValueError(f"{name} learned from the boxes: name the folder of its folds' packages with --folds")
    rows = fold_rows(wishes.folds)
    _ = model.tier  # proven once, for all folds: they are made by the same operators
    proofs = [dict(proof) for proof in model.gradients.proofs]
    of_fold = {
        fold: _fold_model(model, source, contrasted, images, wishes, place / str(fold), proofs)
        for fold, source in heads_of(wishes.folds, LOCAL[name]).items()
    }
    return {patient: of_fold[fold] for patient, fold in rows.items()}


def _fold_model(
    shipped: Model,
    source: Path,
    contrasted: list[str],
    images: list[OnboardingImage],
    wishes: _Wishes,
    place: Path,
    proofs: list[dict[str, Any]],
) -> Model:
    folder = place / source.parent.name / source.name
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(ONBOARDING))
    (folder / ONBOARDING).mkdir()
    told = {"digest": package_digest(folder), "tier": shipped.tier, "providers": list(shipped.session.providers)}
    (folder / ONBOARDING / "report.json").write_text(json.dumps({**told, "proofs": proofs}))
    model = load_package(folder, options=wishes.options)
    normals = [image.x for image in images if image.labels and not any(image.labels.values())]
    keep_normal_maps(model, normals, [method for method in heatmap_methods() if method.name in contrasted], wishes.made)
    return model


def _of_package(name: str, folds: list[Path]) -> Path | None:
    return next((folder for folder in folds if name in LOCAL and heads_of(folder, LOCAL[name])), None)


def _words(held_out: Mapping[str, Model] | None, model: Model) -> str:
    """What was measured on whom, for people."""
    rest = "times, grades and randomisation by the shipped weights"
    if held_out is None:
        return f"nothing was put to boxes; {rest}"
    graphs = sorted({graph_digest(other)[:12] for other in held_out.values()})
    if all(other is model for other in held_out.values()):
        return f"where maps point and how far methods agree: on patients that the weights had not seen; {rest}. {BOXED}"
    return (
        "where maps point and how far methods agree: by the same recipe taught without the patient "
        f"(cross-validation, graphs {', '.join(graphs)}); {rest}, which learned from these patients. {BOXED}"
    )


def decisive_files(folder: Path) -> dict[str, str]:
    """SHA-256 of what decides how a package is explained: its graph, and what its manifest says of that.

    Words, thresholds, calibration and prevalence move no map.
    """
    manifest = read_manifest(folder / MANIFEST)
    # what the file names alone: a key that a later version knows too changes nothing of what is explained
    decisive = manifest.model_dump(
        mode="json", include={"task", "input", "output", "evidence", "methods"}, exclude_unset=True
    )
    decisive["targets"] = [target.name for target in manifest.targets]
    decisive["anatomy"] = manifest.companions.get("anatomy")
    explained = json.dumps(decisive, sort_keys=True).encode()
    return {
        manifest.graph: hashlib.sha256((folder / manifest.graph).read_bytes()).hexdigest(),
        MANIFEST: hashlib.sha256(explained).hexdigest(),
    }


def _write(folder: Path, report: dict[str, Any]) -> None:
    text = json.dumps(report, indent=1, sort_keys=True) + "\n"
    (folder / ONBOARDING / "report.json").write_text(text, encoding="utf-8")


def _show(console: Console, name: str, folder: Path, report: dict[str, Any], seconds: float) -> None:
    console.print(f"{name}: tier {report['tier']}, {report['images']} images, {seconds:.0f} s")
    measured = localisation_in(report, load_package(folder).package)
    for method in best_first(measured) or sorted(measured):
        console.print(f"  {method}: {measured[method].words}", markup=False)


if __name__ == "__main__":
    typer.run(main)
