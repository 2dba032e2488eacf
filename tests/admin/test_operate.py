"""docs/operate.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from fastapi.testclient import TestClient

from whyray.admin.states_table import states_table
from whyray.catalog import DELIVERY_TRANSITIONS, JOB_TRANSITIONS

OPERATE = (Path(__file__).resolve().parents[2] / "docs" / "operate.md").read_text("utf-8")


def test_the_tables_of_states_are_those_of_the_catalog() -> None:
    tables = states_table()
    assert tables["jobs"] in OPERATE
    assert tables["deliveries"] in OPERATE
    assert tables["workitems"] in OPERATE
    assert tables["jobs"].count("\n") == len(JOB_TRANSITIONS) + 1
    assert tables["deliveries"].count("\n") == len(DELIVERY_TRANSITIONS) + 1


def test_every_metric_is_documented_and_every_documented_metric_exists(client: TestClient) -> None:
    scraped = set(re.findall(r"^# TYPE (whyray_\w+)", client.get("/metrics").text, re.MULTILINE))
    assert scraped == set(re.findall(r"\bwhyray_\w+", OPERATE))
