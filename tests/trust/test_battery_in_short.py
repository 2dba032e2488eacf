"""The battery in short, on images that come with the tests: what must be refused is, what is right is shown.

A card that lost a metric, or one of whose thresholds doubled, fails here. `make trust` runs the whole of it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from synthetic import radiograph
from trust.bad_images import SPOILT, knee, leg, noise, other_scans
from trust.bad_maps import BAD_MAPS
from trust.bad_models import bad_models
from trust.records import localisation_of, onboarded_with
from trust.shortcut import films, shortcut_package
from whyray.demo.studies import sample
from whyray.explain import Heatmap, explain, explained_image
from whyray.imaging import read_images, to_model
from whyray.inference import Model, RuntimeOptions, load_package
from whyray.jobs.scope import scope_of_frame
from whyray.packages import write_artefact
from whyray.packages.localisation_report import TargetHits
from whyray.quality import Grade, ScopeCheck, assess
from whyray.quality.known_answers import KIND, answers_as_known, known_answers

ON_CPU = RuntimeOptions(device="cpu", intra_op_threads=1, cache=None)


@pytest.fixture(scope="module")
def chest() -> Model:
    return load_package("cxr-findings", options=ON_CPU)


@pytest.fixture(scope="module")
def film() -> np.ndarray:
    """A real radiograph of the chest, as displayed, reduced to every fourth pixel."""
    (image,) = read_images([sample("RG1_UNCR.dcm")]).images
    return np.asarray(image.display[0][::4, ::4], np.float32)


def as_film(picture: np.ndarray, **options: object) -> Dataset:
    pixels = np.round(np.clip(picture, 0, 1) * 4095).astype(np.uint16)
    return radiograph(np.ascontiguousarray(pixels), window=(2048, 4096), **options)  # type: ignore[arg-type]


def checked(
    model: Model, picture: np.ndarray, *, orientation: list[str] | None = None, **options: object
) -> ScopeCheck:
    data = as_film(picture, **options)
    if orientation is not None:
        data.PatientOrientation = orientation
    (image,) = read_images([data]).images
    given = to_model(image, model.manifest.input)
    return scope_of_frame(image, explained_image(model, given.tensor), given)


def test_an_ordinary_radiograph_is_answered_about(chest: Model, film: np.ndarray) -> None:
    check = checked(chest, film)
    assert not check.refused, check.measurements
    assert check.measured


@pytest.mark.parametrize("kind", SPOILT)
def test_a_spoilt_radiograph_is_not(kind: str, chest: Model, film: np.ndarray) -> None:
    assert checked(chest, SPOILT[kind](film)).refused


def test_images_of_other_things_are_not(chest: Model) -> None:
    rng = np.random.default_rng(0)
    made = {"noise": noise(256, rng), "leg": leg(256, rng), "knee": knee(256, rng), **dict(other_scans())}
    assert len(made) > 5
    assert [name for name, picture in made.items() if not checked(chest, picture).refused] == []


def test_what_is_seen_is_told_by_its_name(chest: Model, film: np.ndarray) -> None:
    for kind, reason in (("inverted", "inverted"), ("mirrored", "mirrored"), ("rotated by 180°", "upside_down")):
        assert checked(chest, SPOILT[kind](film)).reasons[0] == reason


@pytest.mark.parametrize("orientation", [["R", "F"], ["L", "H"], ["F", "L"]])
def test_letters_that_contradict_the_anatomy_found_are_no_place_to_name(
    chest: Model, film: np.ndarray, orientation: list[str]
) -> None:
    """Beside 'right lower zone' the page would have the letter of the left side."""
    assert checked(chest, film, orientation=orientation).reasons == ("orientation",)


@pytest.mark.parametrize("orientation", [["L", "F"], ["", ""], ["LE", "V"], ["LH", "FA"], ["P", "F"]])
def test_letters_that_agree_or_say_nothing_hold_no_answer_back(
    chest: Model, film: np.ndarray, orientation: list[str]
) -> None:
    assert not checked(chest, film, orientation=orientation).refused


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, np.ndarray, np.ndarray]:
    """A package whose answer is what is bright in the lungs; a film, and where the lungs are."""
    from planted import planted_package

    path = planted_package(tmp_path_factory.mktemp("honest"), shape=(64, 64), level=0.55)
    model = load_package(path, options=ON_CPU)
    write_artefact(path / "onboarding" / f"{KIND}.npz", *known_answers(model, made=date(2026, 1, 1)))
    hit = TargetHits(boxes=58, hits=40, centre_prior_hits=14)
    onboarded_with(path, {"grad-cam": localisation_of({model.targets[0]: hit})})
    _, _, lungs = films(1, np.random.default_rng(3), marked=False)
    image = np.where(lungs, 0.2, 0.5)[None, None].astype(np.float32)
    image[..., 30:38, 16:24] = 0.9
    return load_package(path, options=ON_CPU), image, lungs


def graded(honest: tuple[Model, np.ndarray, np.ndarray], values: np.ndarray | None = None) -> object:
    model, image, lungs = honest
    heatmap = explain(model, image, target=model.targets[0], method="grad-cam")
    assert isinstance(heatmap, Heatmap)
    shown = heatmap if values is None else replace(heatmap, values=values)
    return assess(model, image, shown, allowed=lungs)


def test_the_right_map_of_a_right_model_is_green(honest: tuple[Model, np.ndarray, np.ndarray]) -> None:
    card = graded(honest)
    assert card.grade is Grade.GREEN, card.reasons  # type: ignore[attr-defined]
    assert set(card.answers) == {"model", "place"}  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", BAD_MAPS)
def test_a_map_that_knows_nothing_is_withheld_since_the_method_does_not_give_it_and_by_where_it_lies(
    kind: str, honest: tuple[Model, np.ndarray, np.ndarray]
) -> None:
    values = BAD_MAPS[kind](honest[1][0, 0], np.random.default_rng(1))
    card = graded(honest, values)
    red = {measurement.name for measurement in card.measurements if measurement.grade is Grade.RED}  # type: ignore[attr-defined]
    assert card.withheld  # type: ignore[attr-defined]
    assert "made again" in red
    # on this film, the strongest edges are those of the spot that the model reads
    assert kind == "edge map" or red & {
        "share inside anatomy",
        "strongest place inside anatomy",
        "insertion - deletion AUC",
    }


def test_a_map_of_another_image_is_withheld_though_it_lies_in_the_lungs(
    honest: tuple[Model, np.ndarray, np.ndarray],
) -> None:
    values = np.zeros((64, 64), np.float32)
    values[40:46, 42:48] = 1
    card = graded(honest, values)
    assert card.answers["place"] is Grade.GREEN  # type: ignore[attr-defined]
    assert card.withheld  # type: ignore[attr-defined]


def test_models_with_other_weights_or_an_emptied_head_answer_otherwise_than_when_they_were_onboarded(
    chest: Model,
) -> None:
    assert answers_as_known(chest).grade is Grade.GREEN
    grades = {name: answers_as_known(other).grade for name, other in bad_models(chest)}
    assert len(grades) == 5
    assert set(grades.values()) == {Grade.RED}


def test_a_model_that_answers_the_same_of_all_images_is_known_without_any_record(tmp_path: Path) -> None:
    from inference import nets

    model = nets.loaded("plain")
    assert answers_as_known(model).grade is Grade.GREEN
    flat = {name: answers_as_known(other) for name, other in bad_models(model) if name.startswith("head")}
    assert {measurement.grade for measurement in flat.values()} == {Grade.RED}


def test_a_net_that_reads_a_burned_in_marker_is_withheld(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    model = load_package(shortcut_package(tmp_path, rng), options=ON_CPU)
    images, labels, lungs = films(6, rng, marked=True)
    ill = images[labels > 0]
    assert (model.predict(ill)[:, 0] > 0.5).all()
    for image in ill:
        heatmap = explain(model, image[None], target="Opacity", method="grad-cam")
        assert isinstance(heatmap, Heatmap)
        card = assess(model, image[None], heatmap, allowed=lungs)
        assert card.answers["place"] is Grade.RED, card.measurements


def test_ordinary_radiographs_of_patients_kept_apart_are_rarely_refused_and_spoilt_ones_rarely_pass(
    chest: Model, shared_data: Path
) -> None:
    from trust.battery import ordinary_apart

    pictures = [picture for picture, _ in ordinary_apart(shared_data, 20)]
    assert sum(checked(chest, picture).refused for picture in pictures) <= 2
    spoilt = [spoil(picture) for picture, spoil in zip(pictures, 3 * list(SPOILT.values()), strict=False)]
    assert sum(not checked(chest, picture).refused for picture in spoilt) <= 1
