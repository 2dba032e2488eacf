"""A site sees its edits without a study, and editors know the templates' schema."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml

from results.test_pages import words_on
from whyray.base.errors import ConfigError
from whyray.results import load_templates, previews, template_schema, template_schemas
from whyray.results.page import illegible_languages

SHIPPED = Path(__file__).resolve().parents[2] / "dicom_templates"
FILES = sorted(str(path.relative_to(SHIPPED)) for path in SHIPPED.rglob("*.yaml"))
PAGES = {
    "summary",
    "details",
    "overlay",
    "overlay-signed-low-reliability",
    "overlay-of-a-volume",
    "segment",
    "segment-of-a-volume",
    "withheld",
    "refused",
    "sheet-1",
    "sheet-2",
}


def test_a_preview_shows_every_page_in_every_language_in_the_sites_own_words(templates, monkeypatch):
    wording = templates.wording("de").model_copy(update={"not_for_diagnosis": "Nur zur Forschung"})
    site = replace(templates, wordings={"de": wording})
    drawn = {}
    words = words_on(monkeypatch, lambda: drawn.update(previews(site))).splitlines()
    assert set(drawn) == {f"de/{page}" for page in PAGES}
    assert words.count("Nur zur Forschung") == len(PAGES)
    for text in (wording.pages.summary, wording.unseen, wording.withheld, wording.refused, wording.scale_planar):
        assert any(text in line for line in words), text
    for name, picture in drawn.items():
        assert picture.dtype == np.uint8
        assert picture.shape[2] == 3
        assert len(np.unique(picture)) > 20, name


def test_the_same_templates_give_the_same_preview(templates):
    first, second = (dict(previews(replace(templates, wordings={"en": templates.wording("en")}))) for _ in range(2))
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_a_volume_is_previewed_as_the_layout_pages_it(templates):
    volume = templates.layout.volume.model_copy(update={"pages": "series", "key_slices": 3})
    site = replace(
        templates,
        layout=templates.layout.model_copy(update={"volume": volume}),
        wordings={"en": templates.wording("en")},
    )
    names = [name for name, _ in previews(site)]
    assert [f"en/overlay-of-a-volume-{number}" for number in (1, 2, 3)] == [name for name in names if "y-of-a" in name]


def test_languages_that_no_font_can_write_are_named(templates):
    fonts = templates.layout.fonts.model_copy(update={"regular": ("DejaVuSans.ttf",)})
    site = replace(templates, layout=templates.layout.model_copy(update={"fonts": fonts}))
    assert illegible_languages(site) == ["ja"]


OPTIONAL = {
    "estimated_plane",
    "area_at_detector",
    "area_estimated",
    "measured",
    "notes",
    "region_rules",
    "compare",
    "names",
    "frames",
    "source_frame",
    "frames_explained",
    "pages",
    "trust",
    "prevalence",
    "named_and_said",
    "numbers",
    "full_stop",
    "list_mark",
    "target_names",
    "package_titles",
    "yes_no",
    "lines",
    "agreement",
    "method_titles",
    "finding",
    "details",
    "scope",
    "refusals",
    "base",
    "packages",
}
"""Keys that a file may leave out: pages side by side, and words in a language for findings, measurements, rules."""


@pytest.mark.parametrize("name", FILES)
def test_the_schema_accepts_the_shipped_file_and_refuses_what_reading_refuses(name):
    schema = template_schema(name)
    content = yaml.safe_load((SHIPPED / name).read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema)
    check.validate(content)
    assert not check.is_valid({**content, "unknown": 1})
    for key in content.keys() - OPTIONAL:
        assert not check.is_valid({other: content[other] for other in content if other != key})


def test_there_is_a_schema_for_each_file_and_for_no_other():
    by_language = ("wording/", "narrative/")
    assert {name for name in template_schemas() if not name.startswith(by_language)} == {
        name for name in FILES if not name.startswith(by_language)
    }
    assert {name for name in template_schemas() if name.startswith(by_language)} == {
        f"{folder}LANGUAGE.yaml" for folder in by_language
    }
    with pytest.raises(ConfigError, match=r"no template has the name serie\.yaml"):
        template_schema("serie.yaml")


def test_everything_that_is_wrong_is_told_at_once_with_file_and_line(tmp_path):
    (tmp_path / "wording").mkdir()
    series = (
        (SHIPPED / "series.yaml")
        .read_text("utf-8")
        .replace("number: 1,", "number: first,")
        .replace("number: 2,", "number: second,")
    )
    (tmp_path / "series.yaml").write_text(series, "utf-8")
    german = (SHIPPED / "wording/de.yaml").read_text("utf-8").replace("{rule}", "{regel}")
    (tmp_path / "wording/de.yaml").write_text(german, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_templates(tmp_path)
    for path, start in ((tmp_path / "series.yaml", "sc:"), (tmp_path / "series.yaml", "seg:")):
        lines = [
            number for number, line in enumerate(path.read_text("utf-8").splitlines(), 1) if line.startswith(start)
        ]
        assert f"line {lines[0]}: {start[:-1]}.number" in caught.value.message
    assert str(tmp_path / "series.yaml") in caught.value.message
    assert str(tmp_path / "wording/de.yaml") in caught.value.message
    assert "regel" in caught.value.message


def test_the_guide_names_every_entry_of_every_file():
    guide = (SHIPPED.parent / "docs" / "templates.md").read_text("utf-8")
    for name in ("series.yaml", "equipment.yaml", "concepts.yaml", "layout.yaml"):
        section = guide.split(f"### {name}\n")[1].split("\n### ")[0]
        content = yaml.safe_load((SHIPPED / name).read_text("utf-8"))
        assert [key for key in content if f"`{key}`" not in section] == []
