"""docs/configure.md says what the code does."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from whyray.config import read_config
from whyray.config.conditions import WORDS
from whyray.config.source import NEEDS_RESTART
from whyray_docs.configuration import with_reference

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configure.md"
EXAMPLES = [
    textwrap.dedent(block)
    for block in re.findall(r"(?:^    .*\n?)+", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    if re.match(r" +(routes|destinations|listener|when):", block)
]


def test_the_reference_is_the_one_that_the_models_give() -> None:
    """If this fails: write `with_reference(page)` into the page."""
    page = PAGE.read_text("utf-8")
    assert page == with_reference(page)


def test_what_several_sections_have_alike_is_told_once() -> None:
    page = PAGE.read_text("utf-8")
    tables = re.findall(r"^\| key \|.*?(?=\n\n)", page, flags=re.MULTILINE | re.DOTALL)
    assert len(tables) == len(set(tables))
    headings = re.findall(r"^### .*", page, flags=re.MULTILINE)
    assert len(headings) == len(set(headings))
    assert "As [`destinations.NAME.timeouts`](#destinationsnametimeouts)." in page


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_example_can_be_obeyed(example: str, tmp_path: Path) -> None:
    (tmp_path / "admin-password").write_text("secret")
    if example.startswith("when:"):
        example = "routes:\n  - name: example\n    run: any-package\n" + textwrap.indent(example, "    ")
    config, problems = read_config(example, folder=tmp_path, environ={"WHYRAY_CATALOG_URL": "sqlite:///x"})
    assert problems == ()
    assert config is not None


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 4


def test_every_operator_is_explained() -> None:
    page = PAGE.read_text("utf-8")
    for word in WORDS:
        plain = word.removeprefix("not_").removeprefix("absent_or_")
        assert f"`{plain}: " in page


def test_every_setting_that_needs_a_restart_is_named() -> None:
    paragraph = PAGE.read_text("utf-8").partition("take effect at the next start:")[2].partition("\n\n")[0]
    for place in NEEDS_RESTART:
        word = {"count": "number"}.get(str(place[-1]), str(place[-1]))
        assert word in paragraph
