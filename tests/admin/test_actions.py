"""Whatever is asked for, in whatever order: a state only ever changes along the transition table."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from admin.conftest import local_client
from admin.scene import Scene
from whyray.catalog import DELIVERY_TRANSITIONS, JOB_TRANSITIONS, Delivery, Job

_BY_ADMINISTRATOR = {
    "jobs": {
        (transition.source.value, transition.to.value)
        for transition in JOB_TRANSITIONS
        if transition.actor == "administrator"
    },
    "deliveries": {
        (transition.source.value, transition.to.value)
        for transition in DELIVERY_TRANSITIONS
        if transition.actor == "administrator"
    },
}
_ACTION = st.tuples(st.sampled_from(["jobs", "deliveries"]), st.integers(0, 30), st.sampled_from(["retry", "cancel"]))
_BULK = st.fixed_dictionaries(
    {
        "of": st.sampled_from(["jobs", "deliveries"]),
        "action": st.sampled_from(["retry", "cancel"]),
        "state": st.sampled_from(sorted({source for pairs in _BY_ADMINISTRATOR.values() for source, _ in pairs})),
    },
    optional={"destination": st.sampled_from(["pacs", "research"]), "dry_run": st.booleans()},
)


def states(scene: Scene) -> dict[str, dict[str, str]]:
    with scene.catalog.read() as session:
        return {
            "jobs": {id_: state.value for id_, state in session.execute(select(Job.id, Job.state))},
            "deliveries": {id_: state.value for id_, state in session.execute(select(Delivery.id, Delivery.state))},
        }


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.one_of(_ACTION, _BULK), min_size=1, max_size=8))
def test_no_action_leaves_the_transition_table(
    afternoon: Scene, tmp_path: Path, numbers: count[int], steps: list[tuple[str, int, str] | dict[str, object]]
) -> None:
    scene = afternoon.copy(tmp_path / str(next(numbers)))
    client = local_client(scene)
    for step in steps:
        before = states(scene)
        refused = _do(client, before, step)
        after = states(scene)
        for kind, permitted in _BY_ADMINISTRATOR.items():
            moves = {
                (before[kind][id_], after[kind][id_]) for id_ in before[kind] if before[kind][id_] != after[kind][id_]
            }
            assert moves <= permitted
            assert not refused or not moves
    scene.catalog.close()


def _do(client: TestClient, now: dict[str, dict[str, str]], step: tuple[str, int, str] | dict[str, object]) -> bool:
    if isinstance(step, dict):
        response = client.post("/api/v1/bulk", json=step)
    else:
        kind, number, action = step
        ids = sorted(now[kind])
        response = client.post(f"/api/v1/{kind}/{ids[number % len(ids)]}/{action}")
    assert response.status_code in (200, 409), response.text
    return response.status_code == 409


@pytest.fixture
def numbers() -> count[int]:
    return count()


def test_what_the_api_offers_is_what_it_accepts(afternoon: Scene, tmp_path: Path) -> None:
    for kind in ("jobs", "deliveries"):
        scene = afternoon.copy(tmp_path / kind)
        client = local_client(scene)
        for row in client.get(f"/api/v1/{kind}", params={"limit": 500}).json()["items"]:
            for action in ("retry", "cancel"):
                current = client.get(f"/api/v1/{kind}/{row['id']}").json()
                status = client.post(f"/api/v1/{kind}/{row['id']}/{action}").status_code
                assert (status == 200) == (action in current["actions"]), (kind, current["state"], action)
        scene.catalog.close()
