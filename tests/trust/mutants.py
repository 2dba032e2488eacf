"""Cards with a measurement left out, or a threshold doubled: which tests notice? `python -m trust.mutants` from tests/.

Each mutant runs the quick tests of the card in a process of its own and is told by the first test that fails; one that
none notices makes the command fail.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import typer

HERE = Path(__file__).resolve().parent
TESTS = (
    HERE / "test_a_mutated_card_is_noticed.py",
    HERE / "test_nothing_is_green_of_which_nothing_is_known.py",
    HERE.parent / "quality/test_weights_that_learned_nothing.py",
    HERE.parent / "quality/test_cards_keep_their_budget_and_share_their_work.py::"
    "test_a_map_that_is_the_same_for_every_target_is_called_so",
)
MEASUREMENTS = (
    "map health",
    "answers as when it was onboarded",
    "answers that differ between images",
    "weights that learned nothing",
    "made again",
    "passes to make it again",
    "engine parity",
    "insertion - deletion AUC",
    "completeness gap",
    "conservation gap",
    "kept by biases",
    "share inside anatomy",
    "strongest place inside anatomy",
    "answer against its threshold",
    "maps that hit what readers marked",
    "marks that such maps were compared with",
    "map with randomised weights",
    "image like those of the package",
)
THRESHOLDS = {
    "assess": ("PARITY_GREEN", "PARITY_RED"),
    "fidelity": ("COMPLETE", "INCOMPLETE", "PLACED", "LOST", "BETTER"),
    "learned_weights": ("LEAST_WEIGHTS", "CHANCE", "MOST_RANDOM"),
    "known_answers": ("SAME", "OTHER", "LEAST_SPREAD"),
    "robustness": ("AGAIN", "SAME_MAP"),
    "anatomy": ("SURELY_INSIDE", "LEAST_INSIDE"),
    "randomised_maps": ("CHANGED", "SAME"),
    "record": ("SURE", "FEWEST_BOXES"),
    "answer": ("SPOKEN", "SILENT"),
    "scope": ("MOST_ODD",),
}


def without(name: str) -> None:
    """Cards that lack a measurement, whoever makes them."""
    for module in (import_module("whyray.quality.assess"), import_module("whyray.quality.typed")):
        whole = module.QualityCard
        module.QualityCard = lambda measured, whole=whole: whole(  # type: ignore[attr-defined]
            tuple(measurement for measurement in measured if measurement.name != name)
        )


def doubled(module: str, name: str) -> None:
    """A threshold of the quality room, twice what it is."""
    holder = import_module(f"whyray.quality.{module}")
    setattr(holder, name, 2 * getattr(holder, name))


def mutants() -> dict[str, Callable[[], None]]:
    """By name, what makes each."""
    made: dict[str, Callable[[], None]] = {
        f"without '{name}'": lambda name=name: without(name)  # type: ignore[misc]
        for name in MEASUREMENTS
    }
    for module, names in THRESHOLDS.items():
        for name in names:
            made[f"{module}.{name} doubled"] = lambda module=module, name=name: doubled(module, name)  # type: ignore[misc]
    return made


class _FirstFailure:
    """A plugin of pytest that remembers the first test that failed."""

    name = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.name:
            self.name = report.nodeid.rpartition("::")[2]


def noticed(mutate: Callable[[], None]) -> str:
    """The first test that fails under a mutation, in a process of its own; empty where none does."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        mutate()
        first = _FirstFailure()
        pytest.main([*map(str, TESTS), "-x", "-q", "-n0", "-p", "no:cacheprovider"], plugins=[first])
        os.write(writing, first.name.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        name = file.read().decode()
    os.waitpid(child, 0)
    return name


def main() -> int:
    """A table of mutants and what noticed them; 1 where one was not noticed, or where a test fails without any."""
    for module in ("onnx", "onnxruntime", "scipy.stats", "skimage", "whyray.quality", "whyray.onboarding"):
        import_module(module)  # once, for all
    typer.echo("| mutant | noticed by |\n| --- | --- |")
    missed = False
    for name, mutate in mutants().items():
        test = noticed(mutate)
        missed |= not test
        typer.echo(f"| {name} | {test or '–'} |")
    return int(missed or bool(noticed(lambda: None)))


if __name__ == "__main__":
    sys.exit(main())
