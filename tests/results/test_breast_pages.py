"""Pages of breasts say side, view and place as who reads mammograms does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from pydicom.dataset import FileDataset

import mammography
from results.answers import PACKAGE, a_map, answer_about, blob, image_of
from results.test_read_in_seconds import LANGUAGES, written
from whyray.imaging import SourceImage, read_images
from whyray.packages import TargetSpec
from whyray.results import Finding, build_results, build_run_results
from whyray.results.place import place_in_words
from whyray.results.study_images import images_in_study

__all__ = ["written"]
MAGNIFICATION = ("399163009", "SCT", "Magnification")
SPOT = ("R-102D7", "SRT", "Spot Compression")
IMPLANT_DISPLACED = ("399209000", "SCT", "Implant Displaced")
MASS = TargetSpec(name="Mass", threshold=0.5)


def place(image: SourceImage, spot: tuple[int, int, int], templates, language: str = "en") -> str:
    lit = a_map(image, blob(image, spot, radius=0.05))
    finding = Finding(MASS, present=True, probability=0.8, maps=(lit,))
    return place_in_words(answer_about(image, [finding]), finding, lit.region, templates.wording(language))


@pytest.mark.parametrize(
    ("side", "view", "spot", "said"),
    [
        ("R", "CC", (0.15, 0.2), "posterior half, lateral third"),
        ("R", "CC", (0.85, 0.8), "anterior half, medial third"),
        ("L", "CC", (0.15, 0.2), "posterior half, lateral third"),
        ("L", "CC", (0.85, 0.8), "anterior half, medial third"),
        ("R", "MLO", (0.15, 0.2), "posterior half, upper third"),
        ("L", "MLO", (0.85, 0.8), "anterior half, lower third"),
        ("L", "MLO", (0.5, 0.5), "middle third"),
    ],
)
@pytest.mark.parametrize("make", [mammography.mammogram, mammography.tomosynthesis, mammography.projections])
def test_a_place_in_a_breast_is_said_by_the_breast(make, side, view, spot, said, templates):
    """'Upper third of the image' of a view from above was read as the upper breast: it is the lateral one."""
    image = read_images([make(side, view)]).or_raise()[0]
    frames, rows, columns = image.shape
    from_left = spot[1] if side == "L" else 1 - spot[1]
    where = (frames // 2, round(spot[0] * rows), round(from_left * columns))
    assert place(image, where, templates).endswith(said)


def test_without_a_side_or_an_orientation_nothing_is_guessed(templates):
    data = mammography.mammogram("R", "CC")
    data.ImageLaterality = "B"
    assert place(image_of([data]), (0, 25, 100), templates) == "posterior half, third on the patient's right"
    data.PatientOrientation = None
    assert place(image_of([data]), (0, 25, 100), templates) == "right half of the image, upper third"


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_has_words_of_its_own_for_it(language, templates):
    words = templates.wording(language).pages.place
    said = [words.anterior_half, words.posterior_half, words.upper_half, words.lower_half, words.lateral, words.medial]
    assert len(set(said)) == 6
    if language != "en":
        assert not {"anterior half", "lateral third"} & set(said)


def labels(*films: FileDataset) -> list[str]:
    return [place.label for place in images_in_study(read_images(films).or_raise())]


def test_views_with_modifiers_are_told_from_those_without():
    def film(number: int, modifiers: Sequence[tuple[str, str, str]] = (), **options):
        return mammography.mammogram("R", "MLO", modifiers=modifiers, number=number, **options)

    films = [film(1), film(2, [IMPLANT_DISPLACED]), film(3, [MAGNIFICATION, SPOT], coding="SRT")]
    assert labels(*films) == ["R MLO", "R MLO ID", "R M S MLO"]


@pytest.mark.parametrize("coding", ["SCT", "SRT"])
def test_tomosynthesis_beside_mammograms_is_told_by_its_coded_view(coding):
    data = mammography.tomosynthesis("L", "CC")
    data.ViewCodeSequence = [mammography.view_item("CC", coding)]
    assert labels(data, mammography.mammogram("R", "CC")) == ["L CC", "R CC"]


def test_of_two_views_that_a_header_names_none_is_believed():
    film = mammography.mammogram("R", "MLO")
    film.ViewPosition = "CC"
    assert labels(film, mammography.mammogram("R", "CC", number=2)) == ["R", "R CC"]


@pytest.mark.parametrize(
    ("magnification", "bar", "caveat"),
    [
        (None, "Scale bar: lengths at the detector", "measured at the detector, where the patient appears larger"),
        (1.8, "Scale bar: lengths by the magnification", "measured by the magnification that the device estimated"),
    ],
)
def test_lengths_and_areas_say_in_which_plane_they_were_measured(magnification, bar, caveat, templates, written):
    image = image_of([mammography.mammogram("R", "MLO", magnification=magnification)])
    lit = a_map(image, blob(image, (0, 40, 60)))
    mass = Finding(MASS, present=True, probability=0.8, maps=(lit,))
    page = " ".join(one.text for one in written(lambda: build_results(answer_about(image, [mass]), ["sc"], templates)))
    assert bar in page
    segment = Finding(MASS, present=True, probability=None, value=120.0, mask=lit.region)
    answer = answer_about(image, [segment], package=replace(PACKAGE, task="segmentation"))
    (report,) = (result.dataset for result in build_results(answer, ["sr"], templates))
    assert caveat in [element.value for element in report.iterall() if element.keyword == "TextValue"]


@pytest.mark.parametrize("make", [mammography.mammogram, mammography.tomosynthesis])
def test_pages_of_an_image_alone_say_which_breast_it_is(make, templates, written):
    image = read_images([make("L", "MLO")]).or_raise()[0]
    middle = (len(image.frames) // 2, 40, 60)
    mass = Finding(MASS, present=True, probability=0.8, maps=(a_map(image, blob(image, middle)),))
    said = [one.text for one in written(lambda: build_results(answer_about(image, [mass]), ["sc"], templates))]
    assert sum("MLO view, left" in words for words in said) == 2, "on the first page, and on that of the finding"


def test_the_first_page_of_two_views_of_one_breast_names_neither_as_what_it_is_about(templates, written):
    films = [mammography.mammogram("L", view, number=number) for number, view in enumerate(("CC", "MLO"), 1)]
    answers = [
        answer_about(
            image, [Finding(MASS, present=True, probability=0.8, maps=(a_map(image, blob(image, (0, 40, 60))),))]
        )
        for image in read_images(films).or_raise()
    ]
    said = [one.text for one in written(lambda: build_run_results(answers, ["sc"], templates))]
    assert said[said.index("What was found") + 1] == PACKAGE.title
