"""docs/states-events-metrics.md says what the code does."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

from fastapi.testclient import TestClient

from whyray.catalog import DELIVERY_TRANSITIONS, JOB_TRANSITIONS
from whyray.catalog.event_kinds import EVENT_KINDS, EventKind
from whyray_docs.events import events_table
from whyray_docs.states import states_table

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "states-events-metrics.md").read_text("utf-8")


def test_the_tables_of_states_are_those_of_the_catalog() -> None:
    tables = states_table()
    assert tables["jobs"] in PAGE
    assert tables["deliveries"] in PAGE
    assert tables["workitems"] in PAGE
    assert tables["jobs"].count("\n") == len(JOB_TRANSITIONS) + 1
    assert tables["deliveries"].count("\n") == len(DELIVERY_TRANSITIONS) + 1


def test_every_metric_is_documented_and_every_documented_metric_exists(client: TestClient) -> None:
    scraped = set(re.findall(r"^# TYPE (whyray_\w+)", client.get("/metrics").text, re.MULTILINE))
    assert scraped == set(re.findall(r"\bwhyray_\w+", PAGE))


def test_every_kind_of_event_is_documented_and_every_documented_kind_is_written() -> None:
    assert events_table() in PAGE
    # the type of `events.record` lets no other kind through
    assert set(EVENT_KINDS) == set(get_args(EventKind))
    written = {
        node.value
        for path in (ROOT / "service" / "whyray").rglob("*.py")
        if path.name != "event_kinds.py"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert set(EVENT_KINDS) <= written
