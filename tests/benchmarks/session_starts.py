"""What loading the bundled models costs, and what a graph that ONNX Runtime has optimised before would save of it.

`python tests/benchmarks/session_starts.py` prints CPU milliseconds, medians of seven: of reading and checking a file,
of a session of its graph, and of one of the graph that such a session has written optimised.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import onnxruntime

import whyray
from whyray.inference.graph import read_graph
from whyray.packages import read_package

BUNDLED = Path(whyray.__file__).parent / "bundled"
TIMES = 7


def session(graph: bytes, *, optimised: bool = False, write_to: Path | None = None) -> None:
    """Make one; a graph that is `optimised` is taken as it is."""
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    if optimised:
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if write_to is not None:
        settings.optimized_model_filepath = str(write_to)
    onnxruntime.InferenceSession(graph, settings, providers=["CPUExecutionProvider"])


def milliseconds(do: Callable[[], object]) -> float:
    """CPU milliseconds, the median of several times."""
    taken = []
    for _ in range(TIMES):
        start = time.process_time()
        do()
        taken.append(time.process_time() - start)
    return statistics.median(taken) * 1000


def main() -> None:
    """Measure and print."""
    sys.stdout.write("| package | reading and checking | session | session, optimised before | saved |\n")
    sys.stdout.write("| --- | ---: | ---: | ---: | ---: |\n")
    for folder in sorted(path.parent for path in BUNDLED.glob("*/*/model.yaml")):
        package = read_package(folder)
        spec = package.manifest.input
        graph = read_graph(package.graph, spec).proto.SerializeToString()
        with tempfile.TemporaryDirectory() as scratch:
            written = Path(scratch) / "optimised.onnx"
            session(graph, write_to=written)
            before = written.read_bytes()
        reading = milliseconds(lambda: read_graph(package.graph, spec))  # noqa: B023 - called at once
        fresh = milliseconds(lambda: session(graph))  # noqa: B023
        kept = milliseconds(lambda: session(before, optimised=True))  # noqa: B023
        name = f"{package.manifest.name}@{package.manifest.version}"
        sys.stdout.write(f"| `{name}` | {reading:.1f} | {fresh:.1f} | {kept:.1f} | {fresh - kept:.1f} |\n")


if __name__ == "__main__":
    main()
