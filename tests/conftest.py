"""Fixtures that every room's tests share: where the real images are, when they are there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# one tree passes or fails, however often it is tried; who looks for more says --hypothesis-profile=search
settings.register_profile("search", derandomize=False)
settings.register_profile("same", derandomize=True, database=None)
settings.load_profile("same")

pytest_plugins = ["peers", "migrated"]  # real peers: Orthanc, storescp, Redis; catalogs that were migrated once


LONGEST_FIRST = (
    "e2e/test_demo",
    "e2e/test_kill",
    "chaos/",
    "e2e/",
    "training/",
    "results/test_report_validity",
    "inference/test_compiled_gradients_are_the_twins",
    "quality/test_a_useful_map_grades_better_than_a_mutated_one",
    "explain/counterfactual/test_chest_counterfactuals",
    "trust/",
    "viewers/",
    "jobs/test_pipeline",
)
"""Files that take longest; begun first, so that no process works on one of them alone at the end of a run."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order files by how long they take; within a file the order stays."""
    root = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(root).as_posix()
        return next(
            (number for number, start in enumerate(LONGEST_FIRST) if path.startswith(start)), len(LONGEST_FIRST)
        )

    items.sort(key=place)


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a run of the tests compiles, and who made its results, is kept in that run, not in the user's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images for tests; a clone without it skips what needs it, by name."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("WHYRAY_TEST_DATA", beside))
    if not (folder / "nih-cxr" / "labels.csv").is_file():
        pytest.skip(
            f"real test images are not at {folder}; set WHYRAY_TEST_DATA to the folder that holds nih-cxr and head-ct"
        )
    return folder
