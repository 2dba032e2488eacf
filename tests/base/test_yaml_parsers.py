"""libyaml reads what is shipped, as PyYAML's own parser does, and never what could crash it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import whyray
from whyray.base.yaml_parsers import libyaml_may_read, load_plain_yaml
from whyray.config import read_yaml

SERVICE = Path(whyray.__file__).resolve().parent
SHIPPED = sorted([*SERVICE.parents[1].glob("dicom_templates/**/*.yaml"), *SERVICE.glob("bundled/*/*/model.yaml")])


def test_both_parsers_give_the_same_values_and_lines_of_all_that_is_shipped() -> None:
    assert SHIPPED
    for path in SHIPPED:
        text = path.read_text("utf-8")
        assert libyaml_may_read(text), path
        (quick, told), (slow, told_slowly) = read_yaml(text, quick=True), read_yaml(text)
        assert (quick.data, quick.lines, told) == (slow.data, slow.lines, told_slowly), path


@pytest.mark.parametrize("text", ["[" * 3_000, "- " * 3_000, "? " * 3_000, "a: " + "{b: " * 3_000])
def test_what_is_nested_without_end_is_refused_and_ends_no_process(text: str) -> None:
    assert not libyaml_may_read(text)
    _, told = read_yaml(text, quick=True)
    assert told


@pytest.mark.parametrize("text", ["name: [unclosed\ntitle: x", "a: b\n c: d", "\tkey: 1"])
def test_faults_are_told_in_the_same_words_by_whichever_parser_met_them(text: str) -> None:
    with pytest.raises(yaml.YAMLError) as met:
        load_plain_yaml(text)
    with pytest.raises(yaml.YAMLError) as usual:
        yaml.safe_load(text)
    assert str(met.value) == str(usual.value)
    assert read_yaml(text, quick=True)[1] == read_yaml(text)[1]
