"""The table of events in docs/states-events-metrics.md, made from the catalog's kinds of events."""

from __future__ import annotations

from whyray.catalog.event_kinds import EVENT_KINDS


def events_table() -> str:
    """A Markdown table of all kinds."""
    lines = ["| event | severity | written when |", "| --- | --- | --- |"]
    lines += [f"| `{kind}` | {severity} | {words} |" for kind, (severity, words) in EVENT_KINDS.items()]
    return "\n".join(lines)
