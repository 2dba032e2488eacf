"""The tables of methods in the docs, made from the methods themselves, so that they can't fall behind them.

`python -m whyray_docs.methods docs/explanations.md docs/methods/README.md` renews them.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import get_args

from whyray.explain import AnyMethod, Kind, Method

TYPES_START, TYPES_END = "<!-- types: made by whyray_docs.methods -->", "<!-- end of types -->"
START, END = "<!-- methods: made by whyray_docs.methods -->", "<!-- end of methods -->"
_PAPER = re.compile(r"\(([A-Z][^()]*?\b(?:19|20)\d\d\b[^()]*)\)")


def methods_table() -> str:
    """Markdown: each attribution map, with tier, cost, unit, parameters, paper, and if it is sent."""
    from whyray.explain import heatmap_methods

    rows = [
        "| method | tier | forward passes | map, unit | sent | parameters | paper |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    return "\n".join([*rows, *(_row(method) for method in heatmap_methods() if method.kind == "attribution map")])


def types_table() -> str:
    """Markdown: the nine types of interpretability, each with its methods, what they say, and where to read on."""
    from whyray.explain import TypedMethod, methods

    rows = ["| type | method | what it says | tier | sent |", "| --- | --- | --- | --- | --- |"]
    for kind in get_args(Kind):
        for method in (one for one in methods() if one.kind == kind):
            heatmap = kind == "attribution map" and not isinstance(method, TypedMethod)
            page = f"../explanations.md#{method.name}" if heatmap else f"{method.name}.md"
            sent = "yes" if method.deliverable else "research only"
            rows.append(f"| {kind} | [{method.name}]({page}) | {_first_sentence(method)} | {method.tier} | {sent} |")
    return "\n".join(rows)


def with_methods_table(page: str) -> str:
    """The page with its tables renewed; ValueError where it has no place for any."""
    places = {START: (END, methods_table), TYPES_START: (TYPES_END, types_table)}
    renewed = False
    for opening, (closing, table) in places.items():
        before, start, rest = page.partition(opening)
        _, end, after = rest.partition(closing)
        if start and end:
            page, renewed = f"{before}{opening}\n{table()}\n{closing}{after}", True
    if not renewed:
        raise ValueError(f"the page has no {START} … {END} and no {TYPES_START} … {TYPES_END}")
    return page


def _first_sentence(method: AnyMethod) -> str:
    words = " ".join((inspect.getdoc(method) or "").split("\n\n")[0].split())
    return _PAPER.sub("", words).replace(" .", ".").replace(" :", ":").replace(" .", ".").replace("|", "\\|").strip()


def paper(method: Method) -> str:
    """Author, year and place of the paper that the method's docstring names first."""
    match = _PAPER.search(" ".join((inspect.getdoc(method) or "").split()))
    if match is None:
        raise ValueError(f"{method.name} names no paper")
    return match[1]


def _row(method: Method) -> str:
    fields = method.Parameters.model_fields
    parameters = ", ".join(f"`{name}` {field.default}" for name, field in fields.items()) or "none"
    what = f"{'signed' if method.signed else 'not signed'}, {method.unit}"
    sent = "yes" if method.deliverable else "research only"
    name = f"[{method.name}](#{method.name})"
    cost = method.cost(method.Parameters())
    return f"| {name} | {method.tier} | {cost} | {what} | {sent} | {parameters} | {paper(method)} |"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        file = Path(name)
        file.write_text(with_methods_table(file.read_text("utf-8")), "utf-8")
