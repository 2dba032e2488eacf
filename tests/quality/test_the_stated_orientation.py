"""The header's sides against the anatomy: only what contradicts it is red, whoever found the anatomy."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import whyray.quality.scope as scope
from whyray.base.coded_concept import CodedConcept
from whyray.explain import Context, Structure
from whyray.quality import Grade
from whyray.quality.scope import orientation_scope

SIZE = 64
PLACES = {"3341006": (20, 10), "44029006": (20, 44), "80891009": (34, 30), "72410000": (10, 27)}


def _structure(code: str, row: int, column: int) -> Structure:
    mask = np.zeros((SIZE, SIZE), bool)
    mask[row : row + 10, column : column + 10] = True
    return Structure(code, mask, CodedConcept(value=code, scheme="SCT", meaning=code))


CHEST = tuple(_structure(code, *place) for code, place in PLACES.items())
RIB = _structure("113197003", 5, 5)


def _grades(structures: tuple[Structure, ...], directions: tuple[str, str] | None) -> list[Grade]:
    return [measured.grade for measured, _ in orientation_scope(structures, directions)]


@pytest.mark.parametrize(
    ("directions", "grades"),
    [
        (("F", "L"), [Grade.GREEN]),
        (("FP", "LA"), [Grade.GREEN]),
        (("F", "R"), [Grade.RED]),
        (("H", "L"), [Grade.RED]),
        (("L", "F"), [Grade.RED]),
        (("F", "A"), []),
        (("P", "L"), []),
        (("PF", "L"), []),
        (None, []),
    ],
)
def test_a_header_that_names_no_side_contradicts_none(directions: tuple[str, str] | None, grades: list[Grade]) -> None:
    assert _grades(CHEST, directions) == grades


def test_structures_one_over_the_other_tell_nothing() -> None:
    near = {**PLACES, "44029006": (20, 9)}
    assert _grades(tuple(_structure(code, *place) for code, place in near.items()), ("F", "L")) == []


class _Companion:
    """An anatomy companion that finds what it is told to."""

    manifest = SimpleNamespace(
        targets=tuple(SimpleNamespace(code=structure.code) for structure in CHEST), companions={"anatomy": "anatomy"}
    )
    spatial_shape = (SIZE, SIZE)

    def companion(self, role: str, *, method: str) -> _Companion:
        return self


@pytest.mark.parametrize(
    ("of_study", "of_companion"),
    [((), CHEST), ((RIB,), CHEST), (CHEST, ()), ((RIB, *CHEST), ())],
    ids=["nothing", "a rib", "all four", "all four and a rib"],
)
def test_the_studys_own_structures_do_not_switch_the_check_off(
    of_study: tuple[Structure, ...], of_companion: tuple[Structure, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def structures_of(case: SimpleNamespace, *_: object, **__: object) -> tuple[Structure, ...]:
        return case.context.structures or of_companion

    monkeypatch.setattr(scope, "structures_of", structures_of)
    monkeypatch.setattr(scope, "Case", lambda *_, context: SimpleNamespace(context=context))
    image = SimpleNamespace(model=_Companion())
    context = replace(Context(), structures=of_study, directions=("F", "R"))
    reasons = [reason for measured, reason in scope._by_anatomy(image, context) if measured.grade is Grade.RED]
    assert "orientation" in reasons
