"""The table of methods in docs/explanations.md, made from the methods themselves, so that it can't fall behind them.

`python -m whyray.explain.reference docs/explanations.md` renews it.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

from whyray.explain.registry import Method

START, END = "<!-- methods: made by whyray.explain.reference -->", "<!-- end of methods -->"
_PAPER = re.compile(r"\(([A-Z][^()]*?\b(?:19|20)\d\d\b[^()]*)\)")


def methods_table() -> str:
    """Markdown: each method that gives a heatmap, with tier, cost, unit, parameters, paper, and if it is sent."""
    from whyray.explain import heatmap_methods

    rows = [
        "| method | tier | forward passes | map, unit | sent | parameters | paper |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    return "\n".join([*rows, *(_row(each) for each in heatmap_methods())])


def with_methods_table(page: str) -> str:
    """The page with its table renewed; ValueError where it has no place for it."""
    before, start, rest = page.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(f"the page has no {START} … {END}")
    return f"{before}{START}\n{methods_table()}\n{END}{after}"


def paper(method: Method) -> str:
    """Author, year and place of the paper that the method's docstring names first."""
    found = _PAPER.search(" ".join((inspect.getdoc(method) or "").split()))
    if found is None:
        raise ValueError(f"{method.name} names no paper")
    return found[1]


def _row(method: Method) -> str:
    fields = method.Parameters.model_fields
    parameters = ", ".join(f"`{name}` {field.default}" for name, field in fields.items()) or "none"
    what = f"{'signed' if method.signed else 'not signed'}, {method.unit}"
    sent = "yes" if method.deliverable else "research only"
    name = f"[{method.name}](#{method.name})"
    cost = method.cost(method.Parameters())
    return f"| {name} | {method.tier} | {cost} | {what} | {sent} | {parameters} | {paper(method)} |"


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(with_methods_table(file.read_text("utf-8")), "utf-8")
