"""How much memory explaining takes: head CTs of more and more slices, and a radiograph with the bundled packages.

`PYTHONPATH=tests python tests/benchmarks/volume_memory.py [CASE ...] [--slices N ...] [--keep FOLDER]` prints the
tables of docs/performance.md. Each case is a process of its own that does what `whyray explain` does, with the default
kinds of results. Memory is the high-water mark of what is resident (VmHWM of Linux), of the whole and of each step.
`--keep` keeps the results, so that those of two versions can be compared.

The head is drawn in 70 slices; a series of more or fewer has the pixels of the nearest, over the same 168 mm.
"""

from __future__ import annotations

import argparse
import copy
import re
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

from benchmarks.worker_stages import NINE_TYPES
from whyray.base.allocator import share_arenas
from whyray.demo.phantom import Scan, phantom
from whyray.demo.studies import sample
from whyray.explain import expanded
from whyray.inference import RuntimeOptions, load_package
from whyray.jobs import files
from whyray.jobs.explanation_request import ExplanationRequest
from whyray.results import load_templates

DRAWN = 70
EXTENT = 168.0
"""mm along the head that a series covers."""
SLICES = (140, 300, 1200, 3000)
CASES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "head-ct": {"head-ct-tissue": ("seg-grad-cam",)},
    "findings": {"cxr-findings@1.0.0": ("grad-cam",)},
    "opacity": {"cxr-opacity": ("grad-cam",)},
    "nine-types": NINE_TYPES,
}
"""Methods by package; all but the first of a chest radiograph of 1955 x 1841."""


@dataclass(frozen=True)
class Measured:
    """Of one process: MiB resident at most in each step and in the whole, seconds by the clock and of the CPU."""

    steps: Mapping[str, float]
    whole: float
    seconds: float
    cpu: float


def write_head_ct(folder: Path, slices: int, size: int = 512) -> list[Path]:
    """A head CT of so many slices of `size` by `size`, as files."""
    scan = replace(Scan(), slices=DRAWN, distance=EXTENT / DRAWN, size=size, spacing=(230.4 / size, 230.4 / size))
    drawn, paths = phantom(scan), []
    for number in range(1, slices + 1):
        at = (number - 0.5) / slices
        made = copy.copy(drawn[int(at * DRAWN)])
        made.file_meta = copy.copy(made.file_meta)
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = f"{made.SeriesInstanceUID}.{number}"
        made.InstanceNumber, made.SliceThickness = number, f"{EXTENT / slices:.6f}"
        made.ImagePositionPatient = [*made.ImagePositionPatient[:2], f"{(at - 0.5) * EXTENT:.6f}"]
        paths.append(folder / f"{number:04d}.dcm")
        made.save_as(paths[-1], enforce_file_format=True)
    return paths


def explain(paths: Sequence[Path], methods: Mapping[str, Sequence[str]], out: Path) -> Measured:
    """What a worker does of a study, and what it held."""
    share_arenas()  # as a worker's process and `whyray explain` do
    peaks = Peaks()
    start, cpu = time.perf_counter(), time.process_time()
    templates = load_templates()
    for package, names in methods.items():
        model = load_package(package, options=RuntimeOptions(device="cpu"))
        files.explain_files(
            paths,
            model,
            ExplanationRequest(methods=expanded({name: {} for name in names}, model), targets="present"),
            out / package,
            templates=templates,
            at=datetime(2026, 1, 1, tzinfo=UTC),
            progress=lambda _, words: peaks.enter(step_of(words)),
        )
    peaks.enter("")
    return Measured(peaks.steps, peaks.whole, time.perf_counter() - start, time.process_time() - cpu)


def step_of(words: str) -> str:
    """Words of progress without which file or frame is in hand."""
    return re.sub(r"[:,] (file|frame) \d+ of \d+$", "", words)


class Peaks:
    """High-water marks of this process, between one word of progress and the next."""

    def __init__(self) -> None:
        self.steps: dict[str, float] = {}
        self.whole = 0.0
        self._step = "loading"

    def enter(self, words: str) -> None:
        """The step that was entered last ends."""
        status = Path("/proc/self/status").read_text()
        held = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024
        self.steps[self._step] = max(held, self.steps.get(self._step, 0.0))
        self.whole, self._step = max(held, self.whole), words
        Path("/proc/self/clear_refs").write_text("5")  # begin the mark anew


def measured(paths: Sequence[Path], case: str, out: Path) -> Measured:
    """In a process that has done nothing else."""
    with get_context("spawn").Pool(1) as alone:
        return alone.apply(explain, (paths, CASES[case], out))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", help=", ".join(CASES))
    parser.add_argument("--slices", nargs="*", type=int, default=SLICES)
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        kept = asked.keep or Path(temporary) / "results"
        for case in asked.cases or CASES:
            for slices in asked.slices if case == "head-ct" else (None,):
                folder = Path(temporary) / f"{slices}"
                folder.mkdir(exist_ok=True)
                paths = [Path(sample("RG1_UNCR.dcm"))] if slices is None else write_head_ct(folder, slices)
                name = case if slices is None else f"{case}, {slices} slices"
                got = measured(paths, case, kept / name.replace(", ", "-"))
                sys.stdout.write(f"**{name}**: {got.whole:.0f} MiB, {got.seconds:.1f} s, {got.cpu:.1f} CPU s\n\n")
                for step, held in got.steps.items():
                    sys.stdout.write(f"| {step} | {held:.0f} |\n")
                sys.stdout.write("\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
