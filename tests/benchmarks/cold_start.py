"""How long commands take from the shell to their end, and imports by themselves, side by side with a bare interpreter.

    python tests/benchmarks/cold_start.py [--rounds 5] [--image FILE.dcm]

Rounds are interleaved, the table shows medians, spread and CPU seconds of the process and its children. Bytecode is
kept in a folder of this run's own, which a first round that is not counted fills: so it is after an installation by
pip. `--image` adds `whyray explain` with Grad-CAM of one radiograph.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_WHYRAY = ("-m", "whyray")


def commands(image: Path | None, out: Path) -> dict[str, tuple[str, ...]]:
    """What is timed, by the words that the table has for it: arguments of the interpreter."""
    timed = {
        "`python -c pass`": ("-c", "pass"),
        "`whyray --help`": (*_WHYRAY, "--help"),
        "`whyray --version`": (*_WHYRAY, "--version"),
        "`whyray package list`": (*_WHYRAY, "package", "list"),
        "import pydicom": ("-c", "import pydicom"),
        "the same without pixels": (
            "-c",
            "from whyray.base.pydicom_without_pixels import *; import_pydicom_without_pixels()",
        ),
        "imports of a role": (
            "-c",
            "from whyray.app.role_program import *; light_by_day_and_night(); import whyray.app.roles, whyray.intake",
        ),
        "imports of admin": (
            "-c",
            "from whyray.app.role_program import *; light_by_day_and_night(); import whyray.app.roles, whyray.admin",
        ),
        "imports of a job's process": ("-c", "import whyray.jobs.worker, whyray.inference, whyray.results"),
    }
    if image is not None:
        words = (
            "explain",
            str(image),
            "--package",
            "cxr-findings@1",
            "--method",
            "grad-cam",
            "--out",
            str(out),
            "--overwrite",
        )
        timed["`whyray explain`, Grad-CAM"] = (*_WHYRAY, *words)
    return timed


def timed(arguments: tuple[str, ...], environment: dict[str, str]) -> tuple[float, float]:
    """Seconds by the clock and of CPU; ends this program where the command fails."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, check=False)
    took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 3):  # 3: the evaluation of an explanation withholds it
        sys.exit(f"{arguments} ended with {done.returncode}: {done.stderr.decode(errors='replace')[-2000:]}")
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--image", type=Path)
    parser.add_argument("--no-bytecode", action="store_true", help="as where Python may write none and none was made")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="whyray-cold-") as scratch:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = str(Path(scratch) / "bytecode")
        if wanted.no_bytecode:
            environment["PYTHONDONTWRITEBYTECODE"] = "1"
        out = Path(scratch) / "out"
        taken: dict[str, list[tuple[float, float]]] = {}
        for turn in range(wanted.rounds + 1):
            for name, arguments in commands(wanted.image, out).items():
                shutil.rmtree(out, ignore_errors=True)
                figures = timed(arguments, environment)
                if turn:
                    taken.setdefault(name, []).append(figures)
    bare = statistics.median(clock for clock, _ in taken["`python -c pass`"])
    sys.stdout.write("| | s (spread) | times the bare interpreter | CPU s |\n| --- | ---: | ---: | ---: |\n")
    for name, figures_of in taken.items():
        clocks = sorted(clock for clock, _ in figures_of)
        middle, cpu = statistics.median(clocks), statistics.median(cpu for _, cpu in figures_of)
        spread = f"{clocks[0]:.2f} to {clocks[-1]:.2f}"
        sys.stdout.write(f"| {name} | {middle:.2f} ({spread}) | {middle / bare:.0f} | {cpu:.2f} |\n")


if __name__ == "__main__":
    main()
