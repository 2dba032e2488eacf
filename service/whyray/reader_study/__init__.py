"""Reader studies: kits with and without explanation for people to read, and what their answers say.

`whyray.reader_study.material` finds cases in the catalog or in folders; it reads images, so it is
not imported with the room.
"""

from whyray.reader_study.agreement import cohen_kappa, fleiss_kappa, krippendorff_alpha, mean_cohen_kappa
from whyray.reader_study.analysis import MEASURES, RATIOS, Analysis, Measure, ReadingFact, analyse
from whyray.reader_study.cases import Gathered, Material, MaterialFilter
from whyray.reader_study.design import Condition, ReaderPlan, Showing, plan
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
    "MEASURES",
    "RATIOS",
    "Analysis",
    "Choice",
    "Condition",
    "Gathered",
    "Kit",
    "Manifest",
    "Material",
    "MaterialFilter",
    "Measure",
    "Order",
    "ReaderPlan",
    "ReadingFact",
    "Scale",
    "Showing",
    "TrueCase",
    "Truth",
    "analyse",
    "cohen_kappa",
    "fleiss_kappa",
    "krippendorff_alpha",
    "make_kit",
    "mean_cohen_kappa",
    "plan",
    "read_kit",
    "read_truth",
    "read_truths",
    "write_kit",
    "write_truth",
]
