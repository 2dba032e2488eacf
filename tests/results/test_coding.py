"""Codes as data sets hold them: by their kind, and never longer than a reader takes."""

from __future__ import annotations

import pytest

from whyray.base.coded_concept import CodedConcept
from whyray.results.coding import item


@pytest.mark.parametrize(
    ("value", "keyword"),
    [
        ("8186001", "CodeValue"),
        ("a-code-of-more-than-16", "LongCodeValue"),
        ("urn:oid:2.16.840.1.113883.6.96", "URNCodeValue"),
        ("https://example.org/codes/1", "URNCodeValue"),
    ],
)
def test_a_code_stands_in_the_attribute_for_its_kind(value, keyword):
    made = item(CodedConcept(value=value, scheme="99SITE", meaning="Something"))
    assert made[keyword].value == value
    assert [element.keyword for element in made if element.keyword.endswith("CodeValue")] == [keyword]


def test_a_meaning_is_one_value_of_at_most_64_characters():
    made = item(CodedConcept(value="1", scheme="99SITE", meaning="left\\right\n" + "y" * 70))
    assert made.CodeMeaning == "left/right " + "y" * 53
