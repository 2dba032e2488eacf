"""From possible cases to a kit: choosing, numbering, planning, and keeping the truth apart."""

from __future__ import annotations

import csv
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import whyray
from whyray.base.errors import ConfigError
from whyray.reader_study.cases import Material
from whyray.reader_study.design import plan
from whyray.reader_study.instructions import instructions
from whyray.reader_study.kit import KitCase, KitReader, KitShowing, Manifest, TrueCase, Truth

_YES = {"1", "true", "yes", "present", "y"}
_NO = {"0", "false", "no", "absent", "n"}


@dataclass(frozen=True)
class Order:
    """How a study shall be: who leads it decides.

    `most`: at most so many cases; `wrong`: the share of them in which the model is wrong (None: as they come).
    """

    name: str
    title: str
    target: str
    readers: int
    seed: int
    question: str | None = None
    control: Literal["answer", "image"] = "answer"
    crossover: bool = False
    washout_days: int = 28
    going_back: bool = False
    most: int | None = None
    wrong: float | None = None


@dataclass(frozen=True)
class Kit:
    """Manifest and pictures for readers; the truth for who leads the study."""

    manifest: Manifest
    pictures: Mapping[str, bytes]
    truth: Truth
    left_out: tuple[str, ...]


def read_truths(path: Path) -> dict[str, bool]:
    """Case → truth, out of a CSV file with the columns `case` and `truth` (1/0, present/absent, true/false, yes/no).

    Raises
    ------
    ConfigError
        If a column is missing or a truth is neither.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    truths = {}
    for number, row in enumerate(rows, start=2):
        case, said = (row.get("case") or "").strip(), (row.get("truth") or "").strip().lower()
        if not case or said not in _YES | _NO:
            raise ConfigError(
                f"{path.name}: expected a case and its truth (1 or 0), found {said or 'nothing'!r}",
                line=number,
                advice="Give a CSV file with the columns case and truth; case is a Study or SOP Instance UID, or a "
                "file's name without its ending.",
            )
        truths[case] = said in _YES
    return truths


def make_kit(material: Sequence[Material], truths: Mapping[str, bool], order: Order, *, at: datetime) -> Kit:
    """Everything of a kit, in memory; the same input and seed give the same kit.

    Raises
    ------
    ConfigError
        If too few cases have a truth.
    """
    rng = random.Random(f"{order.seed} {order.name}")
    known: dict[str, tuple[Material, bool]] = {}
    left_out = []
    for candidate in sorted(material, key=lambda one: (one.source, one.package)):
        key = next((key for key in candidate.keys if key in truths), None)
        if key is None:
            left_out.append(f"{candidate.source}: the list of truths does not name it")
        elif candidate.source in known:
            left_out.append(f"{candidate.source}: another answer about it is a case already")
        else:
            known[candidate.source] = (candidate, truths[key])
    chosen = _chosen(list(known.values()), order, rng)
    rng.shuffle(chosen)
    cases, true_cases, pictures = [], [], {}
    for number, (taken, truth) in enumerate(chosen, start=1):
        name = f"C{number:03d}"
        image, explanation = f"{name}-image.png", tuple(f"{name}-why-{n}.png" for n in range(1, len(taken.pages) + 1))
        pictures[image] = taken.image
        pictures.update(zip(explanation, taken.pages, strict=True))
        cases.append(KitCase(number=name, image=(image,), explanation=explanation, said=taken.said))
        true_cases.append(
            TrueCase(
                number=name,
                source=taken.source,
                truth=truth,
                model_says=taken.model_says,
                probability=taken.probability,
                package=taken.package,
                methods=taken.methods,
                grades=taken.grades,
            )
        )
    plans = plan(
        {true_case.number: (true_case.truth, true_case.truth == true_case.model_says) for true_case in true_cases},
        [f"R{number}" for number in range(1, order.readers + 1)],
        seed=order.seed,
        crossover=order.crossover,
    )
    question = order.question or f"Is {order.target} present?"
    manifest = Manifest(
        name=order.name,
        title=order.title,
        question=question,
        control=order.control,
        going_back=order.going_back,
        crossover=order.crossover,
        washout_days=order.washout_days if order.crossover else 0,
        seed=order.seed,
        made_at=at,
        made_by=f"WhyRay {whyray.__version__}",
        instructions=instructions(order.title, question, order.control, len(cases), sessions=1 + order.crossover),
        cases=tuple(cases),
        readers=tuple(
            KitReader(
                reader=planned.reader,
                sessions=tuple(
                    tuple(KitShowing(case=one.case, condition=one.condition) for one in session)
                    for session in planned.sessions
                ),
            )
            for planned in plans
        ),
    )
    truth_file = Truth(name=order.name, target=order.target, seed=order.seed, cases=tuple(true_cases))
    return Kit(manifest, pictures, truth_file, tuple(left_out))


def _chosen(known: list[tuple[Material, bool]], order: Order, rng: random.Random) -> list[tuple[Material, bool]]:
    rng.shuffle(known)
    most = len(known) if order.most is None else min(order.most, len(known))
    if order.wrong is None:
        return known[:most]
    wrong = [pair for pair in known if pair[0].model_says != pair[1]]
    right = [pair for pair in known if pair[0].model_says == pair[1]]
    # as many as can be had at the share that was asked for
    if order.wrong > 0:
        most = min(most, int(len(wrong) / order.wrong))
    if order.wrong < 1:
        most = min(most, int(len(right) / (1 - order.wrong)))
    count = round(most * order.wrong)
    return wrong[:count] + right[: most - count]
