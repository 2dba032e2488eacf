"""What is printed of cards: shares with intervals, how well grades foretell right maps, what was withheld or shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from trust.boxed import OWN, Judged
from whyray.base.statistics import auc, bootstrap_interval
from whyray.quality.answer import NAME as ANSWER
from whyray.quality.answer import SILENT, SPOKEN

RIGHT = 0.2
"""IoU by Otsu from which a map is called right."""
CHOSEN = "folds 0–2, on which the thresholds were chosen"
APART = "folds 3 and 4"
BOOTSTRAPS = 2000
_ORDER = {"red": 0.0, "amber": 1.0, "green": 2.0}


def share(passed: Sequence[bool], patients: Sequence[int]) -> str:
    """'2.0 % (0.0–5.1 %), n = 100': the mean with its 95 % interval by bootstrap over patients."""
    if not passed:
        return "–"
    groups: dict[int, list[bool]] = defaultdict(list)
    for one, patient in zip(passed, patients, strict=True):
        groups[patient].append(one)
    if len(set(passed)) == 1:  # a bootstrap of equal values knows no doubt: Clopper and Pearson 1934, of patients
        doubt = 1 - 0.025 ** (1 / len(groups))
        low, high = (1 - doubt, 1.0) if passed[0] else (0.0, doubt)
        return f"{np.mean(passed):.1%} ({low:.1%}–{high:.1%}), n = {len(passed)}"
    sums = np.array([[sum(group), len(group)] for group in groups.values()], float)
    picked = np.random.default_rng(0).integers(len(sums), size=(BOOTSTRAPS, len(sums)))
    totals = sums[picked].sum(axis=1)
    low, high = np.percentile(totals[:, 0] / totals[:, 1], [2.5, 97.5])
    return f"{np.mean(passed):.1%} ({low:.1%}–{high:.1%}), n = {len(passed)}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def card_tables(cards: Sequence[Judged]) -> dict[str, str]:
    """By the name of the page's place: all that the cards of boxed and other radiographs say."""
    return {
        "cards": table(("map", "shown", "green"), _kinds(cards)),
        "foretold": table(("what foretells", "of", "AUC"), _foretold(cards)),
        "answers": table(("odds of the answer over those of its threshold", CHOSEN, APART), _answers(cards)),
        "usual": table(("radiograph", "green", "amber", "withheld"), _usual(cards)),
    }


def _own(cards: Sequence[Judged]) -> list[Judged]:
    return [card for card in cards if card.kind == OWN and not np.isnan(card.iou)]


def _parts(cards: Sequence[Judged]) -> dict[str, list[Judged]]:
    return {
        "all": list(cards),
        CHOSEN: [card for card in cards if card.fold <= 2],
        APART: [card for card in cards if card.fold > 2],
    }


def _kinds(cards: Sequence[Judged]) -> list[list[str]]:
    def row(name: str, of_it: Sequence[Judged]) -> list[str]:
        patients = [card.patient for card in of_it]
        return [name, *(share([test(card) for card in of_it], patients) for test in (_shown, _green))]

    rows = []
    for words, wanted in (("right (IoU ≥ 0.2)", True), ("wrong (IoU < 0.2)", False)):
        for part, of_it in _parts([card for card in _own(cards) if (card.iou >= RIGHT) is wanted]).items():
            rows.append(row(f"{OWN}, {words}" + ("" if part == "all" else f", {part}"), of_it))
    kinds = dict.fromkeys(card.kind for card in cards if card.kind != OWN)
    return [*rows, *(row(kind, [card for card in cards if card.kind == kind]) for kind in kinds)]


def _shown(card: Judged) -> bool:
    return card.grade != "red"


def _green(card: Judged) -> bool:
    return card.grade == "green"


def _foretold(cards: Sequence[Judged]) -> list[list[str]]:
    placed = [card for card in cards if not np.isnan(card.iou)]
    numbers: dict[str, Callable[[Judged], float]] = {
        name: lambda card, name=name: card.values[name]  # type: ignore[misc]
        for name in (ANSWER, "share inside anatomy", "insertion - deletion AUC")
    }
    by_overlap = "grade, wrong maps in their place among them, right where they overlap"
    chosen = {
        "grade": _own(cards),
        "grade, wrong maps in their place among them": placed,
        by_overlap: placed,
    }
    rows = [
        [words, part, _auc(of_it, _grade, own=words != by_overlap)]
        for words, of_all in chosen.items()
        for part, of_it in _parts(of_all).items()
    ]
    return rows + [[f"{name} alone", "all", _auc(_own(cards), number)] for name, number in numbers.items()]


def _grade(card: Judged) -> float:
    return _ORDER[card.grade]


def _auc(cards: Sequence[Judged], score: Callable[[Judged], float], own: bool = True) -> str:
    """`own`: a map that is none of this image's by this model is wrong, whatever it overlaps by chance."""
    right = np.array([card.iou >= RIGHT and (card.kind == OWN or not own) for card in cards], float)
    values = np.array([score(card) for card in cards])
    if right.min() == right.max():
        return "–"

    def of(rows: np.ndarray) -> float:
        return auc(right[rows], values[rows]) if 0 < right[rows].sum() < len(rows) else float("nan")

    draws = np.array([card.patient for card in cards])
    low, high = bootstrap_interval(of, draws, np.random.default_rng(0))
    return f"{auc(right, values):.2f} ({low:.2f}–{high:.2f}), {int(right.sum())} right of {len(cards)}"


def _answers(cards: Sequence[Judged]) -> list[list[str]]:
    bounds = [(0.0, SILENT, "below 1/8: withheld"), (SILENT, SPOKEN, "1/8 to 0.4: amber"), (SPOKEN, np.inf, "from 0.4")]
    rows = []
    for low, high, words in bounds:
        of_it = [card for card in _own(cards) if low <= card.values[ANSWER] < high]
        parts = _parts(of_it)
        said = [f"{sum(card.iou >= RIGHT for card in parts[part])} of {len(parts[part])}" for part in (CHOSEN, APART)]
        rows.append([words, *(f"{right} maps right" for right in said)])
    return rows


def _usual(cards: Sequence[Judged]) -> list[list[str]]:
    rows = []
    own = [card for card in cards if card.kind == OWN]
    for reading in (*dict.fromkeys(card.read_as for card in own), "all"):
        of_it = [card for card in own if reading in ("all", card.read_as)]
        patients = [card.patient for card in of_it]
        rows.append([reading, *(share([card.grade == grade for card in of_it], patients) for grade in _GRADES)])
    return rows


_GRADES = ("green", "amber", "red")
