"""A site edits results without code, and is told file and line of what can't be obeyed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from results.answers import answer_about
from whyray.base import shipped
from whyray.base.errors import ConfigError
from whyray.results import build_results, load_templates

SHIPPED = Path(__file__).resolve().parents[2] / "dicom_templates"


def write(folder: Path, name: str, change=lambda text: text) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(change((SHIPPED / name).read_text("utf-8")), "utf-8")
    return path


def test_a_sites_file_takes_the_place_of_the_shipped_one_and_of_no_other(tmp_path, dx_image):
    write(
        tmp_path,
        "series.yaml",
        lambda text: text.replace("sc: {number: 1,", "sc: {number: 77,").replace("AI Summary", "Bilder"),
    )
    site, shipped = load_templates(tmp_path), load_templates()
    capture, _ = build_results(answer_about(dx_image), ["sc"], site)
    assert capture.dataset.SeriesNumber == 77
    assert capture.dataset.SeriesDescription == "Bilder · Chest findings"
    assert (site.layout, site.wordings) == (shipped.layout, shipped.wordings)
    assert site.version != shipped.version


def test_a_site_adds_a_language(tmp_path, dx_image):
    path = write(tmp_path, "wording/en.yaml", lambda text: text.replace("Original", "Origineel"))
    path.rename(tmp_path / "wording" / "nl.yaml")
    assert load_templates(tmp_path).wording("nl").original == "Origineel"
    with pytest.raises(ConfigError, match="no wording for language 'nl'; there are de, en, es, fr, ja"):
        load_templates().wording("nl")


@pytest.mark.parametrize(
    ("name", "change", "at", "message"),
    [
        ("series.yaml", lambda text: text.replace("{number: 2", "{number: none"), "seg:", "seg.number"),
        ("layout.yaml", lambda text: text.replace("inferno", "jet"), "colour_maps:", "colour_maps.unsigned"),
        ("layout.yaml", lambda text: text + "unknown: 1\n", "unknown:", "unknown"),
        (
            "concepts.yaml",
            lambda text: text.replace('["130404", DCM, Saliency]', "Saliency"),
            "other_quantity",
            "a code is",
        ),
        ("wording/de.yaml", lambda text: text.replace("{rule}", "{regel}"), "region:", "unknown field"),
        ("equipment.yaml", lambda text: text.replace("model:", "model"), "serial_number", "not YAML"),
    ],
)
def test_what_cant_be_obeyed_is_named_with_file_and_line(name, change, at, message, tmp_path):
    path = write(tmp_path, name, change)
    with pytest.raises(ConfigError, match=message) as caught:
        load_templates(tmp_path)
    assert str(path) in caught.value.message
    lines = path.read_text("utf-8").splitlines()
    assert lines[caught.value.line - 1].startswith(at)


def test_a_missing_folder_and_a_stray_file_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no such folder"):
        load_templates(tmp_path / "absent")
    shutil.copy(SHIPPED / "series.yaml", tmp_path / "serie.yaml")
    with pytest.raises(ConfigError, match="no template has this name"):
        load_templates(tmp_path)


def test_an_installed_wheel_finds_the_templates_that_came_with_it(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "whyray"
    shutil.copytree(SHIPPED, package / "_templates")
    monkeypatch.setattr(shipped, "__file__", str(package / "base" / "shipped.py"))
    assert load_templates().version
    shutil.rmtree(package / "_templates")
    with pytest.raises(ConfigError, match="missing"):
        load_templates()


def test_every_language_says_everything_and_differs_from_english(templates):
    english = templates.wording("en").model_dump()
    for language, wording in templates.wordings.items():
        own = wording.model_dump()
        assert own.keys() == english.keys()
        if language != "en":
            same = [key for key, text in own.items() if text == english[key] and key != "original"]
            assert set(same) <= {"refused_because", "full_stop", "list_mark", "named_and_said"}, language
