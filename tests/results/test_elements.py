"""Items that are made as they are, and elements that stand in many of them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from copy import deepcopy

import pytest
from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.tag import Tag

from results.answers import FOUR_KINDS, answer_about
from results.sources import image_named
from results.test_encoding import by_pydicom
from whyray.base.coded_concept import CodedConcept
from whyray.results import build_results, encode
from whyray.results.coding import shared_code
from whyray.results.elements import SharedElement, element, item_of, items, shared_text

HEART = CodedConcept(value="80891009", scheme="SCT", meaning="Heart")


def by_pydicom_itself() -> Dataset:
    made, code = Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = HEART.value, HEART.scheme, HEART.meaning
    made.ValueType, made.TextValue, made.FloatingPointValue = "TEXT", "said", 1.5
    made.ConceptNameCodeSequence, made.ContentSequence = [code], [Dataset()]
    return made


def test_an_item_is_what_pydicom_makes_of_the_same_values() -> None:
    made = item_of(
        [
            shared_text("ValueType", "TEXT"),
            element("TextValue", "said"),
            element("FloatingPointValue", 1.5),
            shared_code("ConceptNameCodeSequence", HEART),
            items("ContentSequence", [Dataset()]),
        ]
    )
    theirs = by_pydicom_itself()
    assert made.to_json() == theirs.to_json()
    attributes, expected = vars(made).copy(), vars(theirs).copy()
    assert attributes.pop("_dict").keys() == expected.pop("_dict").keys()
    assert attributes == expected


def test_items_have_nothing_in_common_but_shared_elements() -> None:
    first, second = item_of([]), item_of([])
    first.private_block(0x0011, "ours", create=True).add_new(1, "LO", "x")
    first.TextValue = "x"
    second.private_block(0x0011, "ours", create=True).add_new(1, "LO", "y")
    assert (second[0x00111001].value, "TextValue" in second) == ("y", False)


def test_an_element_that_several_items_hold_can_not_be_changed() -> None:
    first, second = (item_of([shared_code("ConceptNameCodeSequence", HEART)]) for _ in range(2))
    assert first[Tag("ConceptNameCodeSequence")] is second[Tag("ConceptNameCodeSequence")]
    for change in (
        lambda: setattr(first, "ConceptNameCodeSequence", []),
        lambda: setattr(first.ConceptNameCodeSequence[0], "CodeMeaning", "Lung"),
        lambda: setattr(first["ConceptNameCodeSequence"], "VR", "UN"),
        lambda: setattr(first.ConceptNameCodeSequence[0], "LongCodeValue", "x"),
        lambda: delattr(first.ConceptNameCodeSequence[0], "CodeMeaning"),
        lambda: first.ConceptNameCodeSequence[0].clear(),
        lambda: first.ConceptNameCodeSequence[0].update({Tag("CodeMeaning"): element("CodeMeaning", "x")}),
        lambda: first.ConceptNameCodeSequence[0].pop("CodeMeaning"),
        lambda: first.ConceptNameCodeSequence[0].popitem(),
        lambda: first.ConceptNameCodeSequence.append(Dataset()),
        lambda: first.ConceptNameCodeSequence.extend([Dataset()]),
        lambda: first.ConceptNameCodeSequence.insert(0, Dataset()),
        lambda: first.ConceptNameCodeSequence.__setitem__(0, Dataset()),
        lambda: first.ConceptNameCodeSequence.clear(),
    ):
        with pytest.raises(TypeError, match="stands in several items"):
            change()
    first[Tag("ConceptNameCodeSequence")] = DataElement(Tag("ConceptNameCodeSequence"), "SQ", [])
    del first.ConceptNameCodeSequence
    assert second.ConceptNameCodeSequence[0].CodeMeaning == "Heart"


@pytest.mark.parametrize("copied", [deepcopy, lambda made: pickle.loads(pickle.dumps(made))])
def test_an_item_with_shared_elements_can_be_copied(copied: Callable[[Dataset], Dataset]) -> None:
    made = item_of([shared_code("ConceptNameCodeSequence", HEART)])
    assert copied(made) == made


def test_a_code_is_shared_by_what_it_says_and_where_it_stands() -> None:
    same = CodedConcept(value="80891009", scheme="SCT", meaning="Heart")
    other = CodedConcept(value="80891009", scheme="SCT", meaning="Herz")
    assert shared_code("ConceptCodeSequence", HEART) is shared_code("ConceptCodeSequence", same)
    assert shared_code("ConceptCodeSequence", HEART) is not shared_code("ConceptNameCodeSequence", HEART)
    assert shared_code("ConceptCodeSequence", other).value[0].CodeMeaning == "Herz"


def test_an_unknown_keyword_is_refused() -> None:
    with pytest.raises(KeyError, match="TextValu"):
        element("TextValu", "x")


def shared_in(dataset: Dataset) -> list[SharedElement]:
    shared = []
    for one in dataset._dict.values():
        if isinstance(one, SharedElement):
            shared.append(one)
        if one.VR == "SQ":
            shared += [inner for held in one.value for inner in shared_in(held)]
    return shared


@pytest.mark.parametrize("name", ["DX, Japanese", "real CT"])
def test_a_report_leaves_what_it_shares_with_others_as_it_was(name: str, templates) -> None:
    def reported(language: str) -> Dataset:
        return build_results(answer_about(image_named(name)), FOUR_KINDS, templates, language=language)[-1].dataset

    first = reported("ja")
    written = encode(first)
    shared = shared_in(first)
    kept = [(one.tag, one.VR, deepcopy(one.value)) for one in shared]
    encode(reported("en"))
    assert by_pydicom(first) == written
    assert encode(reported("ja")) == encode(first) == written
    assert [(one.tag, one.VR, one.value) for one in shared] == kept
    assert len(shared) > 100
