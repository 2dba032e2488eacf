"""Maps are carried to the source beside the passes that measure them: the same maps, and the same errors."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whyray.base.errors import GeometryError
from whyray.demo.studies import CHEST, sample
from whyray.explain import Heatmap
from whyray.imaging import ModelInput, SourceImage, read_images, to_model
from whyray.inference import RuntimeOptions, load_package
from whyray.jobs import carrying
from whyray.jobs.carrying import Carrier, leaves_a_core
from whyray.results import checksums_of


@pytest.fixture(scope="module")
def film() -> tuple[SourceImage, ModelInput]:
    image = read_images([Path(sample(CHEST))]).or_raise()[0]
    return image, to_model(image, load_package("cxr-findings@1.0.0").manifest.input)


def heatmaps(given: ModelInput) -> list[Heatmap]:
    rng = np.random.default_rng(3)
    return [
        Heatmap(rng.standard_normal(given.grid.shape).astype(np.float32), name, "grad-cam", True, "1")
        for name in ("first", "second")
    ]


def test_maps_are_the_same_whether_they_were_begun_or_not(film: tuple[SourceImage, ModelInput]) -> None:
    image, given = film
    maps = heatmaps(given)
    with Carrier(image, given.grid) as carrier:
        later = [carrier.of(heatmap) for heatmap in maps]
    with Carrier(image, given.grid) as carrier:
        carrier.begin(maps)
        ahead = [carrier.of(heatmap) for heatmap in maps]
    for one, other in zip(ahead, later, strict=True):
        assert np.array_equal(one.values, other.values)
        assert np.array_equal(np.asarray(one.region), np.asarray(other.region))
        assert (one.region_rule, one.covered.all()) == (other.region_rule, other.covered.all())
        assert one.extremes == other.extremes == (one.values.min(), one.values.max())
        assert np.array_equal(one.checksums, checksums_of(one.values))
        assert np.array_equal(one.checksums, other.checksums)


def test_each_map_is_given_to_what_is_done_beside_the_passes_in_another_thread(
    film: tuple[SourceImage, ModelInput],
) -> None:
    image, given = film
    done = threading.Semaphore(0)
    told: list[tuple[str, threading.Thread]] = []

    def beside(target: str, of: SourceImage, *_: Any) -> None:
        assert of is image
        told.append((target, threading.current_thread()))
        done.release()
        raise RuntimeError("what fails here is done again, and fails, where it is needed")

    with Carrier(image, given.grid, beside) as carrier:
        carrier.begin(heatmaps(given))
        assert all(done.acquire(timeout=60) for _ in range(2))
    assert [target for target, _ in told] == ["first", "second"]
    assert all(thread is not threading.current_thread() for _, thread in told)


def test_what_goes_wrong_in_the_thread_is_raised_to_who_asks_and_not_before(
    film: tuple[SourceImage, ModelInput], monkeypatch: pytest.MonkeyPatch
) -> None:
    image, given = film
    first, second = heatmaps(given)
    carried = carrying.to_source

    def refused(values: np.ndarray, *arguments: Any, **options: Any) -> Any:
        if values is first.values:
            raise GeometryError("not this one")
        return carried(values, *arguments, **options)

    monkeypatch.setattr(carrying, "to_source", refused)
    with Carrier(image, given.grid) as carrier:
        carrier.begin([first, second])
        with pytest.raises(GeometryError, match="not this one"):
            carrier.of(first)
        assert carrier.of(second).values.shape == image.shape


def test_who_leaves_early_waits_for_nothing_that_was_not_begun(film: tuple[SourceImage, ModelInput]) -> None:
    image, given = film
    begun: list[str] = []

    def beside(target: str, *_: Any) -> None:
        begun.append(target)

    maps: Sequence[Heatmap] = heatmaps(given) * 20
    with Carrier(image, given.grid, beside) as carrier:
        carrier.begin(maps)
    assert len(begun) < len(maps)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("carrying")]


def test_nothing_is_carried_ahead_where_the_passes_take_every_core(
    film: tuple[SourceImage, ModelInput], monkeypatch: pytest.MonkeyPatch
) -> None:
    image, given = film
    monkeypatch.setattr("whyray.jobs.carrying.usable_cores", lambda: 2)
    assert not leaves_a_core(RuntimeOptions(device="cpu"))
    assert not leaves_a_core(RuntimeOptions(device="cpu", intra_op_threads=1, sharing=2)), "each worker has a core"
    assert not leaves_a_core(RuntimeOptions(device="cpu", intra_op_threads=2))
    assert leaves_a_core(RuntimeOptions(device="cpu", intra_op_threads=1))
    assert leaves_a_core(RuntimeOptions(device="cuda"))
    begun: list[str] = []
    first = heatmaps(given)[0]
    with Carrier(image, given.grid, lambda target, *_: begun.append(target), ahead=False) as carrier:
        carrier.begin([first])
        assert carrier.of(first).values.shape == image.shape
    assert not begun
