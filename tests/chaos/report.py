"""What a run found: JSON for programs, a Markdown table for people."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chaos.faults import FAULTS
from chaos.run import Outcome, Struck, typical

_MB = 1 << 20


def as_json(outcome: Outcome) -> str:
    """Everything, each fault by itself."""
    plan, tally = outcome.plan, outcome.tally
    content: dict[str, Any] = {
        "seed": plan.seed,
        "database": plan.database,
        "seconds": round(outcome.seconds, 1),
        "load": round(outcome.load, 1),
        "drained": outcome.drained,
        "faultless": tally.faultless,
        "not made": outcome.passed,
        "lacking": outcome.lacking,
        "peak MB": {role: round(size / _MB) for role, size in sorted(outcome.peak.items())},
        "large studies": {name: round(seconds, 1) for name, seconds in outcome.large.items()},
        "tally": {
            key: sorted(value) if isinstance(value, set) else value for key, value in dataclasses.asdict(tally).items()
        },
        "words": counted(outcome),
        "faults": [dataclasses.asdict(strike) for strike in outcome.struck],
    }
    return json.dumps(content, indent=1)


def _of_kinds(struck: Sequence[Struck]) -> dict[str, list[Struck]]:
    by_fault: dict[str, list[Struck]] = {name: [] for name in FAULTS}
    for strike in struck:
        by_fault[strike.name].append(strike)
    return {name: strikes for name, strikes in by_fault.items() if strikes}


def table(struck: Sequence[Struck]) -> str:
    """Fault × times × acknowledged × lost × doubled × recovery."""
    lines = [
        "| fault | times | acknowledged and under way | lost | doubled | recovery, median (most) |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, group in _of_kinds(struck).items():
        times = [strike.recovery for strike in group if strike.recovery is not None]
        recovery = f"{typical(times):.0f} s ({max(times):.0f} s)" if times else "–"
        lines.append(
            f"| {FAULTS[name].what} | {len(group)} | {sum(strike.in_flight for strike in group)} | "
            f"{sum(strike.lost for strike in group)} | {sum(strike.doubled for strike in group)} | {recovery} |"
        )
    return "\n".join(lines)


def as_markdown(outcome: Outcome) -> str:
    """The table of a run, and what was counted."""
    return f"{table(outcome.struck)}\n\n{counted(outcome)}\n"


def merged(reports: Sequence[Path]) -> str:
    """One table of several runs, by their JSON reports, and what was counted in each."""
    read = [json.loads(path.read_text()) for path in reports]
    struck = [Struck(**fault) for report in read for fault in report["faults"]]
    return "\n\n".join([table(struck), *(report["words"] for report in read)])


def put_into(page: Path, words: str, name: str) -> None:
    """Replace what stands between the comments `chaos: NAME` and `chaos: end` of a page."""
    begin, end = f"<!-- chaos: {name} -->", "<!-- chaos: end -->"
    text = page.read_text()
    start = text.index(begin) + len(begin)
    page.write_text(f"{text[:start]}\n{words.strip()}\n{text[text.index(end, start) :]}")


def counted(outcome: Outcome) -> str:
    """One run in words."""
    tally, plan = outcome.tally, outcome.plan
    memory = ", ".join(f"{role} {size / _MB:.0f} MB" for role, size in sorted(outcome.peak.items()))
    lines = [
        f"Seed {plan.seed}, {plan.database}: {len(outcome.struck)} faults in {outcome.seconds / 60:.0f} minutes "
        f"(load of the machine {outcome.load:.0f}); {tally.studies} studies, {tally.acknowledged} instances "
        f"acknowledged, {tally.processed} processed, {tally.delivered} results delivered; lost {len(tally.lost)}, not "
        f"processed {len(tally.unprocessed)}, not delivered {len(tally.undelivered)}, doubled {len(tally.doubled)}, "
        f"condemned without reason {len(tally.condemned)}; {tally.sent_again} objects were sent more than "
        f"once by the same UID; {tally.failed_by_the_archives_word} deliveries refused for good by the "
        f"archive, and sent by hand's retry. "
        f"Peak memory: {memory}.",
    ]
    lines += [f"{name}: done {seconds:.0f} s after its last instance." for name, seconds in outcome.large.items()]
    if tally.meant_to_fail:
        lines.append(
            "Meant to fail: " + "; ".join(f"{what} × {n}" for what, n in sorted(tally.meant_to_fail.items())) + "."
        )
    for what, why in outcome.passed.items():
        lines.append(f"Never made: {what} ({why}).")
    lines += [f"Without {lack}." for lack in outcome.lacking]
    for title in ("lost", "unprocessed", "undelivered", "doubled", "condemned"):
        wrongs = getattr(tally, title)
        lines += [f"* {title}: {wrong}" for wrong in wrongs[:20]]
    return "\n".join(lines)
