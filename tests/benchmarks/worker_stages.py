"""Where a worker's time goes: the stages of three jobs, and beside each the bare forward passes of that very job.

`PYTHONPATH=tests python tests/benchmarks/worker_stages.py [--runs N] [--json FILE] [JOB ...]` prints the tables of
docs/performance.md. A job is what `whyray explain` does of it, with the models loaded: once before, so that sessions
are open as a worker keeps them, then N times. Right after each time its passes through ONNX Runtime are made again
with nothing around them, on the same sessions with inputs of the same shapes.

Seconds are those of the CPU, of all threads together: on a machine that does other work too, those of a clock say
little (`--clock wall` gives them).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import onnxruntime

from whyray.base.stages import measured_stages
from whyray.config import DEFAULT_KINDS, ResultKind
from whyray.demo.phantom import Scan, write_phantom
from whyray.demo.studies import sample
from whyray.explain import expanded
from whyray.inference import Model, RuntimeOptions, load_package
from whyray.inference.gradient_export import GRADIENT
from whyray.jobs import files
from whyray.jobs.explanation_request import ExplanationRequest
from whyray.results import EVERY_KIND, Templates, load_templates

Clock = Callable[[], float]
NINE_TYPES = {
    "cxr-findings@1.0.0": (
        "grad-cam",
        "region-shares",
        "similar-cases",
        "latent-position",
        "latent-shift",
        "narrative",
    ),
    "cxr-abnormal": ("concept-bottleneck", "unit-report"),
    "cxr-prototypes": ("prototypes",),
}


@dataclass(frozen=True)
class Case:
    """One study with one choice of explanations; the goal is `factor` times its bare passes and `extra` seconds."""

    name: str
    study: Callable[[Path], Sequence[Path]]
    methods: Mapping[str, Sequence[str]]
    goal: tuple[float, float] | None
    kinds: Sequence[ResultKind] = DEFAULT_KINDS


def film(_: Path) -> Sequence[Path]:
    """A chest radiograph of 1955 x 1841 pixels."""
    return [Path(sample("RG1_UNCR.dcm"))]


def head(folder: Path) -> Sequence[Path]:
    """A head CT of 140 slices of 512 x 512 pixels."""
    return write_phantom(folder, replace(Scan(), slices=140, distance=1.2, size=512, spacing=(0.45, 0.45)))


CASES = {
    "local-evidence": Case("chest radiograph, the default method", film, {"cxr-findings": ("local-evidence",)}, None),
    "grad-cam": Case("chest radiograph, Grad-CAM", film, {"cxr-findings@1.0.0": ("grad-cam",)}, (1.3, 0.3)),
    "nine-types": Case("chest radiograph, nine types", film, NINE_TYPES, (2.0, 1.0)),
    "every-kind": Case("chest radiograph, nine types, every kind of result", film, NINE_TYPES, None, EVERY_KIND),
    "head-ct": Case("head CT of 140 slices, Seg-Grad-CAM", head, {"head-ct-tissue": ("seg-grad-cam",)}, (3.0, 2.0)),
}


class RecordedSession(onnxruntime.InferenceSession):
    """Remembers which passes were made."""

    passes: list[tuple[RecordedSession, tuple[str, ...], tuple[Any, ...]]] = []  # noqa: RUF012  # of all sessions

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.inputs: dict[tuple[Any, ...], dict[str, Any]] = {}
        """By their shapes: the first of each is kept."""

    def run(self, output_names: Sequence[str], input_feed: dict[str, Any], run_options: Any = None) -> list[Any]:
        """As its parent, and remembered, unless it is a gradient: those are no part of what a job is compared with."""
        if GRADIENT in output_names:
            gradient: list[Any] = super().run(output_names, input_feed, run_options)
            return gradient
        shapes = tuple((name, getattr(value, "shape", ())) for name, value in sorted(input_feed.items()))
        if shapes not in self.inputs:
            self.inputs[shapes] = {name: value.copy() for name, value in input_feed.items()}
        self.passes.append((self, tuple(output_names), shapes))
        made: list[Any] = super().run(output_names, input_feed, run_options)
        return made

    def again(self, names: tuple[str, ...], shapes: tuple[Any, ...]) -> None:
        """The pass alone."""
        super().run(list(names), self.inputs[shapes])


@contextmanager
def recorded() -> Iterator[None]:
    """Sessions opened inside remember what they do."""
    plain = onnxruntime.InferenceSession
    onnxruntime.InferenceSession = RecordedSession
    try:
        yield
    finally:
        onnxruntime.InferenceSession = plain


def bare(clock: Clock) -> float:
    """Seconds of all passes since the last call, made again with nothing around them."""
    passes, RecordedSession.passes = list(RecordedSession.passes), []
    start = clock()
    for session, names, shapes in passes:
        session.again(names, shapes)
    return clock() - start


@dataclass
class Measured:
    """One case: seconds of stages of the first time and of each time after it, of the whole, and of its bare passes."""

    case: Case
    first: dict[str, float]
    stages: list[dict[str, float]] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        names = list(dict.fromkeys(name for run in self.stages for name in run))
        medians = {name: statistics.median(run.get(name, 0.0) for run in self.stages) for name in names}
        passes = statistics.median(self.bare)
        return {
            "case": self.case.name,
            "stages": dict(sorted(medians.items(), key=lambda pair: -pair[1])),
            "first": self.first,
            "whole": statistics.median(self.whole),
            "spread": [min(self.whole), max(self.whole)],
            "bare": passes,
            "goal": None if self.case.goal is None else self.case.goal[0] * passes + self.case.goal[1],
        }


def measure(case: Case, runs: int, threads: int | None, clock: Clock) -> Measured:
    """The case once, and `runs` times more."""
    with recorded(), tempfile.TemporaryDirectory() as folder:
        paths = case.study(Path(folder))
        options = RuntimeOptions(device="cpu", intra_op_threads=threads)
        models = {name: load_package(name, options=options) for name in case.methods}
        templates = load_templates()
        made = Measured(case, once(case, paths, models, templates, clock))
        bare(clock)
        for _ in range(runs):
            made.stages.append(once(case, paths, models, templates, clock))
            made.whole.append(sum(made.stages[-1].values()))
            made.bare.append(bare(clock))
    return made


def once(
    case: Case, paths: Sequence[Path], models: Mapping[str, Model], templates: Templates, clock: Clock
) -> dict[str, float]:
    """Seconds by stage of the case's jobs together."""
    took: dict[str, float] = {}
    files.measured_stages = partial(measured_stages, clock)
    for package, names in case.methods.items():
        methods = expanded({name: {} for name in names}, models[package])
        with tempfile.TemporaryDirectory() as out:
            report = files.explain_files(
                paths,
                models[package],
                ExplanationRequest(methods=methods, targets="present", seed=0, language="en"),
                Path(out),
                templates=templates,
                at=datetime(2026, 1, 1, tzinfo=UTC),
                progress=lambda *_: None,
                kinds=case.kinds,
            )
        for stage in report.stages:
            took[stage.name] = took.get(stage.name, 0.0) + stage.own
    return took


def table(measured: Mapping[str, Any]) -> str:
    """One case in Markdown."""
    rows = [f"**{measured['case']}**", "", "| stage | s | the first time, s |", "| --- | ---: | ---: |"]
    for name, seconds in measured["stages"].items():
        rows.append(f"| {name} | {seconds:.2f} | {measured['first'].get(name, 0.0):.2f} |")
    (least, most), first = measured["spread"], sum(measured["first"].values())
    rows.append(f"| **whole** ({least:.2f} to {most:.2f}) | **{measured['whole']:.2f}** | {first:.2f} |")
    rows.append(f"| bare forward passes | {measured['bare']:.2f} | |")
    if measured["goal"] is not None:
        rows.append(f"| goal | {measured['goal']:.2f} | |")
    return "\n".join(rows) + "\n"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jobs", nargs="*", help=", ".join(CASES))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, help="of ONNX Runtime within an operator; its default: every core")
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    kept = {}
    clock = time.process_time if asked.clock == "cpu" else time.perf_counter
    for name in asked.jobs or CASES:
        kept[name] = measure(CASES[name], asked.runs, asked.threads, clock).plain()
        sys.stdout.write(table(kept[name]) + "\n")
        sys.stdout.flush()
    if asked.json:
        asked.json.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
