"""Images of real size, from file to results: what it takes of memory and time, and whether the spot is found in place.

`PYTHONPATH=tests python tests/benchmarks/large_images.py [CASE ...] [--keep FOLDER]` prints, for each case in a process
of its own that does what `whyray explain` does with the default kinds of results: the size of the file, the high-water
mark of what is resident (VmHWM of Linux), seconds, frames decoded for each there is, the results' sizes, what dciodvfy
calls an error in them, and how far the middle of the marked region lies from the spot that was drawn.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

import real_size
from benchmarks.volume_memory import Peaks, step_of
from dciodvfy import errors_of
from planted import planted_package
from synthetic import stack
from whyray.base.allocator import share_arenas
from whyray.imaging import decode, read, repeats
from whyray.inference import RuntimeOptions, load_package
from whyray.jobs import files
from whyray.jobs.explanation_request import ExplanationRequest
from whyray.results import EVERY_KIND, load_templates

SYNTAXES = {
    "native": ExplicitVRLittleEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "jpeg2000": JPEG2000Lossless,
    "jpegls": JPEGLSLossless,
    "jpeg": JPEGLosslessSV1,
    "rle": RLELossless,
}


@dataclass(frozen=True)
class Case:
    """A study of one instance: how it is written, the grid of the package, and where the spot is."""

    write: Callable[[Path], Sequence[Path]]
    grid: tuple[int, ...]
    modality: str
    spot: tuple[float, float]
    frames: tuple[int, ...]
    """1-based numbers of the frames that show it."""
    count: int = 1
    every_kind: bool = False


def _film(shape: tuple[int, int], bits: int, syntax: UID, modality: str = "MG") -> Case:
    spot, radius = (0.3 * shape[0], 0.6 * shape[1]), 0.05 * shape[1]

    def write(folder: Path) -> Sequence[Path]:
        _, shown = real_size.spotted(shape, bits, spot, radius)
        data = real_size.film(shown, modality=modality, bits=bits)
        return [real_size.write_large(data, lambda _: shown, 1, syntax, folder / "film.dcm")]

    return Case(write, (shape[0] // 8, shape[1] // 8), modality, spot, (1,))


def _tomosynthesis(shape: tuple[int, int], count: int, syntax: UID, *, extended: bool = False) -> Case:
    spot, radius = (0.3 * shape[0], 0.4 * shape[1]), 0.05 * shape[1]
    numbers = tuple(range(count // 2, count // 2 + 6))

    def write(folder: Path) -> Sequence[Path]:
        plain, shown = real_size.spotted(shape, 10, spot, radius)
        frames = real_size.in_frames(plain, shown, [number - 1 for number in numbers])
        data = real_size.breast_volume(shape, count)
        return [real_size.write_large(data, frames, count, syntax, folder / "tomo.dcm", extended=extended)]

    return Case(write, (count // 2, shape[0] // 16, shape[1] // 16), "MG", spot, numbers, count)


def _cine(shape: tuple[int, int], count: int, syntax: UID, kind: str) -> Case:
    spot, radius = (0.3 * shape[0], 0.4 * shape[1]), 0.06 * shape[1]
    numbers = tuple(range(count // 3, count // 3 + 5))

    def write(folder: Path) -> Sequence[Path]:
        plain, shown = real_size.spotted(shape, 8, spot, radius)
        data, stored = real_size.run(kind, count, plain, shown)
        frames = real_size.in_frames(*stored, [number - 1 for number in numbers])
        return [real_size.write_large(data, frames, count, syntax, folder / "run.dcm")]

    return Case(write, (shape[0] // 8, shape[1] // 8), "US" if kind != "XA" else "XA", spot, numbers, count)


def _enhanced(shape: tuple[int, int], count: int, syntax: UID, modality: str) -> Case:
    spot, radius = (0.3 * shape[0], 0.4 * shape[1]), 0.06 * shape[1]
    numbers = tuple(range(count // 2, count // 2 + count // 20))

    def write(folder: Path) -> Sequence[Path]:
        plain, shown = real_size.spotted(shape, 12, spot, radius)
        data = real_size.sectional_volume(shape, count, modality)
        frames = real_size.in_frames(plain, shown, [number - 1 for number in numbers])
        return [real_size.write_large(data, frames, count, syntax, folder / "volume.dcm")]

    return Case(write, (64, shape[0] // 4, shape[1] // 4), modality, spot, numbers, count)


def _series(shape: tuple[int, int], count: int) -> Case:
    spot, radius = (0.3 * shape[0], 0.4 * shape[1]), 0.06 * shape[1]
    numbers = tuple(range(count // 2, count // 2 + count // 20))

    def write(folder: Path) -> Sequence[Path]:
        plain, shown = real_size.spotted(shape, 12, spot, radius)
        frames = real_size.in_frames(plain, shown, [number - 1 for number in numbers])
        return real_size.write_series(folder, stack(count, shape, spacing=(0.7, 0.7), distance=0.6), frames)

    return Case(write, (64, shape[0] // 4, shape[1] // 4), "CT", spot, numbers, count)


CASES = {
    **{f"mg-{name}": _film((4096, 3328), 12, syntax) for name, syntax in SYNTAXES.items()},
    **{f"mg-large-{name}": _film((5928, 4728), 14, syntax) for name, syntax in SYNTAXES.items()},
    "dx": _film((4288, 3520), 14, JPEG2000Lossless, "DX"),
    "dbt-native": _tomosynthesis((2457, 1996), 70, ExplicitVRLittleEndian),
    "dbt-jpegls": _tomosynthesis((2457, 1996), 70, JPEGLSLossless),
    "dbt-jpeg2000": _tomosynthesis((2457, 1996), 70, JPEG2000Lossless),
    "dbt-rle": _tomosynthesis((2457, 1996), 70, RLELossless),
    "dbt-jpeg": _tomosynthesis((2457, 1996), 70, JPEGLosslessSV1),
    "dbt-deflated": _tomosynthesis((2457, 1996), 70, DeflatedExplicitVRLittleEndian),
    "dbt-100-native": _tomosynthesis((3328, 2560), 100, ExplicitVRLittleEndian),
    "dbt-100-jpegls": _tomosynthesis((3328, 2560), 100, JPEGLSLossless, extended=True),
    "dbt-140-jpegls": _tomosynthesis((3328, 2560), 140, JPEGLSLossless, extended=True),
    "xa-native": _cine((1024, 1024), 300, ExplicitVRLittleEndian, "XA"),
    "xa-jpeg": _cine((1024, 1024), 300, JPEGLosslessSV1, "XA"),
    "us-rgb": _cine((768, 1024), 300, ExplicitVRLittleEndian, "RGB"),
    "us-ybr": _cine((768, 1024), 300, JPEGBaseline8Bit, "YBR_FULL_422"),
    "enhanced-ct": _enhanced((512, 512), 1200, ExplicitVRLittleEndian, "CT"),
    "enhanced-mr": _enhanced((384, 384), 2000, JPEGLSLossless, "MR"),
    "ct-3000": _series((512, 512), 3000),
}


def explain(case: str, paths: Sequence[Path], out: Path, kinds: Sequence[str]) -> dict[str, Any]:
    """What a worker does of a study, and what it took."""
    share_arenas()
    peaks, decodes = Peaks(), Counter[str]()
    counted(decodes)
    chosen = CASES[case]
    volume = len(chosen.grid) == 3
    planted_package(
        out / "packages", shape=chosen.grid, kind="volume" if volume else "planar", level=0.6,
        modalities=(chosen.modality,),
    )  # fmt: skip
    started, cpu = time.perf_counter(), time.process_time()
    model = load_package("planted", search=[out / "packages"], options=RuntimeOptions(device="cpu"))
    report = files.explain_files(
        paths,
        model,
        ExplanationRequest(methods={"grad-cam": {}}),
        out,
        templates=load_templates(),
        at=datetime(2026, 1, 1, tzinfo=UTC),
        progress=lambda _, words: peaks.enter(step_of(words)),
        **({"kinds": kinds} if kinds else {}),
    )
    peaks.enter("")
    stages = {took.name: round(took.own, 2) for took in report.stages if took.own > 0.05}
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "cpu": round(time.process_time() - cpu, 1),
        "peak": round(peaks.whole),
        "steps": {step: round(held) for step, held in peaks.steps.items()},
        "stages": stages,
        "decodes": sum(decodes.values()) / chosen.count,
        "notes": list(report.notes)[:5],
        "refused": list(report.refused)[:5],
        "findings": [(f["finding"], f.get("present"), f.get("probability")) for f in report.findings][:3],
    }


def counted(decodes: Counter[str]) -> None:
    """Count the frames that are decoded."""
    original = decode.stored_frames

    def counting(data: Any, uid: str, *arguments: Any) -> Any:
        for frame in original(data, uid, *arguments):
            decodes[uid] += 1
            yield frame

    read.stored_frames = repeats.stored_frames = counting


def results_of(case: Case, out: Path) -> list[str]:
    """Of each kind of result: how many, their bytes, errors of dciodvfy, and where they mark the spot."""
    lines = []
    for path in sorted((out / "dicom").glob("*.dcm")):
        found = dcmread(path)
        errors = errors_of(path.read_bytes())
        line = f"{path.name[:50]}: {path.stat().st_size / 2**20:.2f} MiB, {len(errors)} errors {errors[:2]}"
        if found.Modality == "SEG":
            line += f"; {marked(found, case)}"
        if found.Modality == "PR":
            line += f"; {outlined(found)}"
        lines.append(line)
    return lines


def marked(segmentation: Any, case: Case) -> str:
    """How far the middle of the segment lies from the spot, and on which frames."""
    rows, columns = segmentation.Rows, segmentation.Columns
    count = int(segmentation.get("NumberOfFrames", 1))
    numbers, middles = [], []
    bits = np.frombuffer(segmentation.PixelData, np.uint8)
    flat = np.unpackbits(bits, bitorder="little", count=count * rows * columns).reshape(count, rows, columns)
    for index, groups in enumerate(segmentation.PerFrameFunctionalGroupsSequence):
        if flat[index].any():
            (source,) = groups.DerivationImageSequence[0].SourceImageSequence
            numbers.append(int(source.get("ReferencedFrameNumber") or 1))
            middles.append(np.argwhere(flat[index]).mean(axis=0))
    if not middles:
        return "nothing is marked"
    off = np.abs(np.array(middles) - case.spot).max()
    return (
        f"frames {min(numbers)} to {max(numbers)} ({len(numbers)} of {count}; spot on {case.frames[0]} to "
        f"{case.frames[-1]}), off by {off:.1f} pixels"
    )


def outlined(state: Any) -> str:
    middles = []
    for annotation in state.get("GraphicAnnotationSequence", []):
        for one in annotation.get("GraphicObjectSequence", []):
            points = np.reshape(one.GraphicData, (-1, 2))
            middles.append(((points.min(axis=0) + points.max(axis=0)) / 2)[::-1])
    return f"{len(middles)} outlines around {np.mean(middles, axis=0) if middles else None}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", help=", ".join(CASES))
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--every-kind", action="store_true")
    asked = parser.parse_args()
    for name in asked.cases or CASES:
        with tempfile.TemporaryDirectory(dir=asked.keep) as temporary:
            folder = (asked.keep or Path(temporary)) / name
            (folder / "study").mkdir(parents=True, exist_ok=True)
            started = time.perf_counter()
            paths = sorted((folder / "study").glob("*.dcm"))
            with get_context("spawn").Pool(1) as alone:
                paths = paths or alone.apply(write, (name, folder / "study"))
            size = sum(path.stat().st_size for path in paths)
            sys.stdout.write(f"## {name}: {size / 2**20:.0f} MiB, written in {time.perf_counter() - started:.1f} s\n")
            sys.stdout.flush()
            with get_context("spawn").Pool(1) as alone:
                got = alone.apply(explain, (name, paths, folder, EVERY_KIND if asked.every_kind else ()))
            for key, value in got.items():
                sys.stdout.write(f"{key}: {json.dumps(value)}\n")
            for line in results_of(CASES[name], folder):
                sys.stdout.write(f"  {line}\n")
            sys.stdout.flush()


def write(name: str, folder: Path) -> Sequence[Path]:
    return CASES[name].write(folder)


if __name__ == "__main__":
    main()
