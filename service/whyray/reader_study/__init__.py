"""Reader studies: kits with and without explanation for people to read, and what their answers say.

`whyray.reader_study.material` finds cases in the catalog or in folders, and reads images; `analysis`, with `agreement`
and `bootstrap`, calculates. They are not imported with the room, which the admin page is served from too.
"""

from whyray.reader_study.cases import Gathered, Material, MaterialFilter
from whyray.reader_study.design import Condition, ReaderPlan, ReadingFact, Showing, plan
from whyray.reader_study.export import Kit, Order, make_kit, read_truths
from whyray.reader_study.kit import (
    Choice,
    Manifest,
    Scale,
    TrueCase,
    Truth,
    read_kit,
    read_truth,
    write_kit,
    write_truth,
)

__all__ = [
    "Choice",
    "Condition",
    "Gathered",
    "Kit",
    "Manifest",
    "Material",
    "MaterialFilter",
    "Order",
    "ReaderPlan",
    "ReadingFact",
    "Scale",
    "Showing",
    "TrueCase",
    "Truth",
    "make_kit",
    "plan",
    "read_kit",
    "read_truth",
    "read_truths",
    "write_kit",
    "write_truth",
]
