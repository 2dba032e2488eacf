"""The tables of states in docs/states-events-metrics.md, made from the catalog's transition tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from whyray.catalog import DELIVERY_TRANSITIONS, JOB_TRANSITIONS, WORKITEM_TRANSITIONS
from whyray.catalog.states import Transition


def states_table() -> dict[str, str]:
    """By 'jobs', 'deliveries', 'workitems': a Markdown table of who moves what from where to where, to what effect."""
    return {
        "jobs": _markdown(JOB_TRANSITIONS),
        "deliveries": _markdown(DELIVERY_TRANSITIONS),
        "workitems": _markdown(WORKITEM_TRANSITIONS),
    }


def _markdown(transitions: Sequence[Transition[Any]]) -> str:
    lines = ["| from | to | by | action | effect |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {transition.source.value} | {transition.to.value} | {transition.actor} | {transition.action} "
        f"| {transition.effect} |"
        for transition in transitions
    ]
    return "\n".join(lines)
