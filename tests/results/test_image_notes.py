"""What a reader must know of how an image was read stands in the report, on the page and in the description."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageDraw
from pydicom import dcmread

import synthetic
from results.answers import CARDIOMEGALY, FOUR_KINDS, a_map, answer_about, blob, centre_of, image_of
from whyray.base.shipped import shipped_templates
from whyray.imaging import NoteKind
from whyray.results import Finding, Wording, build_results, describe, encode, load_templates
from whyray.results.image_notes import in_words
from whyray.results.yaml_file import read_template

LANGUAGES = ("de", "en", "es", "fr", "ja")


@pytest.fixture(scope="module")
def incomplete(tmp_path_factory):
    """A series from whose middle files are missing."""
    planes = synthetic.stack(12, (40, 40), distance=2.5)
    written = synthetic.write(
        synthetic.slices(synthetic.volume_of(planes, synthetic.ball((0, 0, 0), 9)), planes, shuffled=False),
        tmp_path_factory.mktemp("incomplete"),
    )
    return image_of(written[:5] + written[7:])


def answer_of(image, *, shown=True):
    maps = (a_map(image, blob(image, centre_of(image))),) if shown else ()
    return answer_about(image, [Finding(CARDIOMEGALY, present=True, probability=0.8, maps=maps)])


def items_of(dataset):
    for item in dataset.get("ContentSequence", []):
        yield item
        yield from items_of(item)


def drawn_words(monkeypatch, draw):
    drawn = []
    original = ImageDraw.ImageDraw.text
    with monkeypatch.context() as patched:
        patched.setattr(
            ImageDraw.ImageDraw,
            "text",
            lambda self, xy, text, *a, **k: (drawn.append(text), original(self, xy, text, *a, **k)),
        )
        draw()
    return drawn


def test_missing_slices_are_told_in_the_report_with_size_and_place(incomplete, templates, tmp_path, errors_of):
    (tmp_path / "report.dcm").write_bytes(
        encode(build_results(answer_of(incomplete), FOUR_KINDS, templates)[-1].dataset)
    )
    report = dcmread(tmp_path / "report.dcm")
    (evaluations,) = [
        item
        for item in report.ContentSequence
        if item.get("ConceptNameCodeSequence") and item.ConceptNameCodeSequence[0].CodeValue == "C0034375"
    ]
    (told,) = [
        item for item in evaluations.ContentSequence if item.ConceptNameCodeSequence[0].CodeMeaning == "Image note"
    ]
    assert told.ConceptNameCodeSequence[0].CodingSchemeDesignator == "99WHYRAY"
    assert told.TextValue.startswith("Slices are missing: gap of 7.50 mm after instance ")
    assert incomplete.frames[4].sop_instance_uid in told.TextValue
    assert errors_of((tmp_path / "report.dcm").read_bytes()) == []


def test_missing_slices_are_told_on_every_page_in_the_readers_words(incomplete, templates, monkeypatch):
    for language, phrase in (
        ("en", "Slices are missing"),
        ("de", "Es fehlen Schichten"),
        ("fr", "Des coupes manquent"),
    ):
        for answer in (answer_of(incomplete), answer_of(incomplete, shown=False)):
            kinds, pages = (["sc"], 2) if answer.findings[0].maps else (["pdf"], 1)
            words = drawn_words(
                monkeypatch,
                lambda: build_results(answer, kinds, templates, language=language),  # noqa: B023
            )
            assert words.count(phrase) == pages, (language, kinds)


def test_a_complete_series_has_no_word_of_missing_slices(templates, monkeypatch, tmp_path):
    planes = synthetic.stack(12, (40, 40), distance=2.5)
    whole = image_of(synthetic.write(synthetic.slices(np.zeros((12, 40, 40)), planes), tmp_path))
    results = []
    words = drawn_words(monkeypatch, lambda: results.extend(build_results(answer_of(whole), FOUR_KINDS, templates)))
    assert "Slices are missing" not in words
    names = [
        item.ConceptNameCodeSequence[0].CodeMeaning
        for item in items_of(results[-1].dataset)
        if item.get("ConceptNameCodeSequence")
    ]
    assert "Comment" in names
    assert "Image note" not in names


def test_notes_are_described_for_the_catalog_by_kind_and_detail(incomplete):
    (finding,) = describe(answer_of(incomplete))
    (note,) = finding["notes"]
    assert note["kind"] == NoteKind.GAP.value
    assert note["detail"] == str(incomplete.notes[0])


def test_notes_of_one_kind_take_one_line_of_a_page_and_an_item_each_of_the_report(templates, monkeypatch, tmp_path):
    planes = synthetic.stack(16, (40, 40), distance=2.5)
    written = synthetic.write(synthetic.slices(np.zeros((16, 40, 40)), planes, shuffled=False), tmp_path)
    twice = image_of(written[:4] + written[5:9] + written[10:])
    results = []
    words = drawn_words(monkeypatch, lambda: results.extend(build_results(answer_of(twice), FOUR_KINDS, templates)))
    assert words.count("Slices are missing") == 2, "once on the page of what was found, once on the finding's"
    told = [item for item in items_of(results[-1].dataset) if "Slices are missing" in item.get("TextValue", "")]
    assert len({item.TextValue for item in told}) == len(told) == 2


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_of_note_has_words_in_every_language(language):
    own = read_template(shipped_templates() / "wording" / f"{language}.yaml", Wording).notes
    assert {kind.name.lower() for kind in NoteKind} <= own.model_fields_set, (
        "written in the file, not the English default"
    )
    phrases = [in_words(kind, own) for kind in NoteKind]
    assert len(set(phrases)) == len(phrases)
    english = load_templates().wording("en").notes
    if language != "en":
        assert not set(phrases) & {in_words(kind, english) for kind in NoteKind}


def test_a_sites_wording_of_an_earlier_version_still_loads(tmp_path):
    text = (shipped_templates() / "wording" / "de.yaml").read_text("utf-8")
    before, _, after = text.partition("notes:\n")
    (tmp_path / "wording").mkdir()
    (tmp_path / "wording" / "de.yaml").write_text(before + after[after.index("units:\n") :], "utf-8")
    assert load_templates(tmp_path).wording("de").notes.gap == "Slices are missing"
