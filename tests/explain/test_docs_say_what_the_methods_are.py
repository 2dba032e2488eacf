"""The docs say what the code does: tables of methods, a section for each map, a page for each other method."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from whyray.explain import AnyMethod, Kind, methods
from whyray_docs.methods import paper, with_methods_table

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE, TYPES = DOCS / "explanations.md", DOCS / "methods" / "README.md"
MAPS = [method for method in methods() if method.kind == "attribution map"]
OTHERS = [method for method in methods() if method.kind != "attribution map"]
SECTIONS = (
    "What it says",
    "What it does not say",
    "When it misleads",
    "Cost",
    "Parameters",
    "What it needs",
    "Evaluation",
    "Paper",
)


@pytest.mark.parametrize("file", [PAGE, TYPES], ids=lambda file: file.name)
def test_the_tables_are_those_of_the_registered_methods(file: Path, tmp_path: Path) -> None:
    page = file.read_text("utf-8")
    right = with_methods_table(page)
    (tmp_path / file.name).write_text(right, "utf-8")
    assert page == right, f"if the code is right: cp {tmp_path / file.name} {file}"


def test_all_nine_types_of_interpretability_have_a_method() -> None:
    assert {method.kind for method in methods()} == set(get_args(Kind))


@pytest.mark.parametrize("method", OTHERS, ids=lambda method: method.name)
def test_every_method_that_is_no_map_has_a_page_with_all_sections_and_a_picture(method: AnyMethod) -> None:
    page = DOCS / "methods" / f"{method.name}.md"
    text = page.read_text("utf-8")
    headings = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert [section for section in SECTIONS if section not in headings] == []
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert pictures
    assert all((page.parent / picture).is_file() for picture in pictures)
    assert all(f"`{name}`" in text for name in method.Parameters.model_fields)


def test_every_method_has_its_section_and_no_section_is_left_of_a_method_that_is_gone() -> None:
    sections = {line[4:] for line in PAGE.read_text("utf-8").splitlines() if line.startswith("### ")}
    names = {method.name for method in MAPS}
    assert names <= sections
    assert {title for title in sections if title == title.lower() and " " not in title} == names


@pytest.mark.parametrize("method", MAPS, ids=lambda method: method.name)
def test_every_papers_first_author_is_in_the_list_of_papers(method: object) -> None:
    papers = PAGE.read_text("utf-8").partition("## Papers")[2]
    assert paper(method).split()[0] in papers  # type: ignore[arg-type]
