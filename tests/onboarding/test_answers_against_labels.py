"""With labels, onboarding says how well answers tell images with a finding from those without, and how sure that is."""

from __future__ import annotations

import numpy as np
import pytest

from whyray.onboarding.discrimination import discrimination
from whyray.packages.report_warnings import discrimination_words


def entry_of(answers: list[float], true: list[float], patients: list[str] | None = None) -> dict[str, object]:
    probabilities, labels = np.array(answers, np.float32)[:, None], np.array(true, np.float64)[:, None]
    entry: dict[str, object] = discrimination(["Mass"], probabilities, labels, patients or [""] * len(answers))["Mass"]
    return entry


def test_the_area_has_an_interval_even_where_no_positive_scores_below_a_negative() -> None:
    entry = entry_of([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], ["a", "b", "c", "d"])
    assert entry["AUC"] == 1
    assert entry["interval"] == [pytest.approx(0.37, abs=0.1), 1]  # two against two tell hardly anything
    assert (entry["positive"], entry["negative"], entry["patients"]) == (2, 2, 4)
    words = discrimination_words("Mass", entry)
    assert words.startswith("Mass: AUC 1.00 (95 % interval 0.")
    assert words.endswith("2 images with it, 2 without, 4 patients; no better than chance, as far as so many tell")


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_alone_claims_nothing(label: float) -> None:
    entry = entry_of([0.1, 0.2, 0.8], [label] * 3)
    assert "AUC" not in entry
    assert "interval" not in entry
    assert "no AUC, it needs images with the finding and without" in discrimination_words("Mass", entry)


def test_images_of_one_patient_make_nothing_surer() -> None:
    rng = np.random.default_rng(0)
    true = np.repeat([1.0, 0.0], 10)
    answers = true + rng.normal(0, 1, 20)
    once = entry_of([*answers], [*true], [f"p{n}" for n in range(20)])
    copies = entry_of([*np.tile(answers, 9)], [*np.tile(true, 9)], [f"p{n}" for n in np.tile(range(20), 9)])
    assert copies["AUC"] == once["AUC"]
    assert copies["interval"] == once["interval"]
    apart = entry_of([*np.tile(answers, 9)], [*np.tile(true, 9)])
    assert apart["images of unknown patients"] == 180
    assert apart["interval"][1] - apart["interval"][0] < once["interval"][1] - once["interval"][0]  # type: ignore[index]


def test_images_that_nobody_looked_at_are_left_out() -> None:
    labels = np.array([[1, np.nan], [0, np.nan], [np.nan, np.nan]])
    report = discrimination(["Mass", "Nodule"], np.full((3, 2), 0.5, np.float32), labels, ["", "", ""])
    assert set(report) == {"Mass"}
    assert report["Mass"]["positive"] + report["Mass"]["negative"] == 2
    assert report["Mass"]["AUC"] == 0.5
