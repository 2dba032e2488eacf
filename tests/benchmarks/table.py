"""Write a benchmark's figures into docs/performance-of-methods.md.

python tests/benchmarks/table.py FILE docs/performance-of-methods.md
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from whyray_docs.marks import with_part

MARKS = {
    "CPU": ("<!-- figures, CPU: made by tests/benchmarks/table.py -->", "<!-- end of figures, CPU -->"),
    "GPU": ("<!-- figures, GPU: made by tests/benchmarks/table.py -->", "<!-- end of figures, GPU -->"),
}


def tables(lines: list[dict[str, Any]]) -> tuple[str, str]:
    """(CPU or GPU, Markdown) of one run's JSON lines."""
    machine = next(line["machine"] for line in lines if "machine" in line)
    where = "CPU" if machine["device"] == "CPU" else "GPU"
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    on = machine["processor"] if where == "CPU" else f"{machine['device']}, {machine['processor']}"
    words = [
        f"Measured {machine['day']} on {on}, {machine['cores']} cores, {machine['threads']} threads, load before "
        f"{machine['load before']}; {versions}. Ratios are to the first row of each table: median and quartiles over "
        "turns.",
        "",
    ]
    for line in lines:
        if "figures" not in line:
            continue
        words += [f"**{line['title']}**" + (f" ({line['note']})" if line["note"] else ""), ""]
        words += ["| | ms | ratio | quartiles |", "| --- | ---: | ---: | --- |"]
        for name, figure in line["figures"].items():
            low, high = figure["quartiles"]
            words.append(f"| {name} | {figure['ms']:.1f} | {figure['ratio']:.2f} | {low:.2f} to {high:.2f} |")
        words.append("")
    return where, "\n".join(words).rstrip()


def with_tables(page: str, where: str, table: str) -> str:
    """The page with that part renewed; ValueError where it has no place for it."""
    return with_part(page, *MARKS[where], table)


if __name__ == "__main__":
    measured = [json.loads(line) for line in Path(sys.argv[1]).read_text("utf-8").splitlines()]
    page_file = Path(sys.argv[2])
    page_file.write_text(with_tables(page_file.read_text("utf-8"), *tables(measured)), "utf-8")
