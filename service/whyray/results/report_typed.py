"""Measurement groups of explanations that are not heatmaps: one of what is said as a whole, one a structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydicom import Dataset

from whyray.base.coded_concept import CodedConcept
from whyray.results import content_items as sr
from whyray.results.answer import GradedExplanation
from whyray.results.coding import NO_UNITS, dcm
from whyray.results.portray import Portrayal, Row

_COMMENT = dcm("121106", "Comment")


@dataclass(frozen=True)
class ShownTyped:
    """An explanation that is shown, what it says, and the objects that show it.

    `segments`: {structure name: (Segmentation, number of its segment)}.
    """

    graded: GradedExplanation
    portrayal: Portrayal
    pages: tuple[Dataset, ...] = ()
    segments: Mapping[str, tuple[Dataset, int]] | None = None

    def objects(self) -> list[Dataset]:
        """All objects that the report refers to."""
        used = [] if self.segments is None else [dataset for dataset, _ in self.segments.values()]
        return [*self.pages, *used]


def row_item(row: Row) -> Dataset:
    """One row as a content item: NUM, CODE or TEXT by the type of its value."""
    measured = not isinstance(row.value, (CodedConcept, str))
    children = [row_property(part, of_measurement=measured) for part in row.of]
    if row.comment:
        children.append(sr.text("HAS PROPERTIES", _COMMENT, row.comment))
    if isinstance(row.value, CodedConcept):
        return sr.code("CONTAINS", row.name, row.value, children)
    if isinstance(row.value, str):
        return sr.text("CONTAINS", row.name, row.value)
    return sr.number("CONTAINS", row.name, row.value, row.unit or NO_UNITS, children)


def row_property(row: Row, *, of_measurement: bool) -> Dataset:
    """A statement about another one; about a measurement by the relationships of TID 300 and 1419 (PS3.16)."""
    if isinstance(row.value, CodedConcept):
        return sr.code("HAS CONCEPT MOD" if of_measurement else "HAS PROPERTIES", row.name, row.value)
    if isinstance(row.value, str):
        return sr.text("HAS PROPERTIES", row.name, row.value)
    relationship: sr.Relationship = "INFERRED FROM" if of_measurement else "HAS PROPERTIES"
    return sr.number(relationship, row.name, row.value, row.unit or NO_UNITS)


def by_structure(rows: Sequence[Row]) -> dict[str | None, list[Row]]:
    """Rows by the structure that they are about, None first, in the order of their first rows."""
    grouped: dict[str | None, list[Row]] = {None: []}
    for row in rows:
        grouped.setdefault(row.structure, []).append(row)
    return grouped
