"""docs/explanations.md says what the code does: its table, a section for each method, the card's thresholds."""

from __future__ import annotations

from pathlib import Path

import pytest

from whyray.explain import methods
from whyray.explain.reference import paper, with_methods_table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanations.md"


def test_the_table_is_that_of_the_registered_methods(tmp_path: Path) -> None:
    page = PAGE.read_text("utf-8")
    right = with_methods_table(page)
    (tmp_path / PAGE.name).write_text(right, "utf-8")
    assert page == right, f"if the code is right: cp {tmp_path / PAGE.name} {PAGE}"


def test_every_method_has_its_section_and_no_section_is_left_of_a_method_that_is_gone() -> None:
    sections = {line[4:] for line in PAGE.read_text("utf-8").splitlines() if line.startswith("### ")}
    names = {each.name for each in methods()}
    assert names <= sections
    assert {each for each in sections if each == each.lower() and " " not in each} == names


@pytest.mark.parametrize("method", methods(), ids=lambda each: each.name)
def test_every_papers_first_author_is_in_the_list_of_papers(method: object) -> None:
    papers = PAGE.read_text("utf-8").partition("## Papers")[2]
    assert paper(method).split()[0] in papers  # type: ignore[arg-type]
