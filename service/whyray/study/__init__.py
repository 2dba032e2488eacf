"""Reader studies: kits with and without explanation for people to read, and what their answers say.

`whyray.study.material` finds cases in the catalog or in folders; it reads images, so it is not imported with the room.
"""

from whyray.study.agreement import cohen_kappa, fleiss_kappa, krippendorff_alpha, mean_cohen_kappa
from whyray.study.analysis import MEASURES, RATIOS, Analysis, Measure, ReadingFact, analyse
from whyray.study.cases import Gathered, Material, Wanted
from whyray.study.design import Condition, ReaderPlan, Showing, plan
from whyray.study.export import Kit, Order, make_kit, read_truths
from whyray.study.kit import Manifest, TrueCase, Truth, read_kit, read_truth, write_kit, write_truth

__all__ = [
    "MEASURES",
    "RATIOS",
    "Analysis",
    "Condition",
    "Gathered",
    "Kit",
    "Manifest",
    "Material",
    "Measure",
    "Order",
    "ReaderPlan",
    "ReadingFact",
    "Showing",
    "TrueCase",
    "Truth",
    "Wanted",
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
