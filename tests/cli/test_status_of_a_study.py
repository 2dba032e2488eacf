"""`whyray status --study UID`: where one study stands and why, without a browser."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from admin.conftest import afternoon, scene
from admin.scene import Scene
from cli.conftest import Cli, Said
from whyray.catalog import Rejection, Study, events, studies

__all__ = ["afternoon", "scene"]

CONFIG = """
routes: []
destinations:
  pacs: {ae_title: PACS_MAIN, host: 127.0.0.1, port: 104}
  research: {url: "http://127.0.0.1:1/dicom-web"}
"""


@pytest.fixture
def config(scene: Scene) -> Path:
    written = scene.folder / "whyray.yaml"
    written.write_text(f"state: {scene.folder}\n" + CONFIG)
    return written


def asked(cli: Cli, config: Path, uid: str, *options: str) -> Said:
    return cli("status", "--study", uid, *options, "--config", config)


def test_a_study_whose_job_failed_says_why_and_what_to_do(scene: Scene, cli: Cli, config: Path) -> None:
    uid = scene.uid("failed")
    said = asked(cli, config, uid)
    assert said.code == 0
    assert f"{uid}: failed" in said.everything
    assert "2 instances from PACS_MAIN" in said.everything
    assert "head CT: cxr-findings@1.0.0, failed" in said.everything
    assert "PackageError: study" in said.everything
    assert "What to do: Correct the package's files" in said.everything
    assert "job.failed" in said.everything


def test_a_job_that_waits_says_when_it_is_tried_again(scene: Scene, cli: Cli, config: Path) -> None:
    told = json.loads(asked(cli, config, scene.uid("waiting"), "--json").out)
    (job,) = told["jobs"]
    assert (told["state"], job["state"], job["attempt"]) == ("working", "waiting", 1)
    assert job["error"]["code"] == "ResourceExhausted"
    assert job["next_try_at"] is not None
    assert job["why"] == "tried again after a pause"


def test_a_queued_job_of_which_no_worker_runs_says_so(scene: Scene, cli: Cli, config: Path) -> None:
    said = asked(cli, config, scene.uid("queued"))
    assert "no worker runs" in said.everything


def test_deliveries_are_told_by_destination_with_their_errors(scene: Scene, cli: Cli, config: Path) -> None:
    said = asked(cli, config, scene.uid("done"))
    assert f"{scene.uid('done')}: done" in said.everything
    assert "pacs: 1 result committed" in said.everything
    assert "pacs: 1 result failed" in said.everything
    assert "PeerRefused: PACS_MAIN: no presentation context" in said.everything
    assert "research: 2 results waiting" in said.everything
    told = json.loads(asked(cli, config, scene.uid("done"), "--json").out)
    assert len(told["deliveries"]) == 10
    assert {delivery["destination"] for delivery in told["deliveries"]} == {"pacs", "research"}
    failed = next(delivery for delivery in told["deliveries"] if delivery["state"] == "failed")
    assert failed["error"]["code"] == "PeerRefused"


def test_a_study_that_is_being_received_says_what_routing_waits_for(scene: Scene, cli: Cli, config: Path) -> None:
    with scene.catalog.begin() as session:
        study = next(row for row in studies.unsettled(session) if row.study_instance_uid == scene.uid("arriving"))
        studies.describe(session, study.id, "waiting for quiet: 20 s since the last instance")
    said = asked(cli, config, scene.uid("arriving"))
    assert f"{scene.uid('arriving')}: receiving: waiting for quiet" in said.everything
    assert "No job" in said.everything


def test_of_a_study_that_is_not_here_its_events_are_told(scene: Scene, cli: Cli, config: Path) -> None:
    with scene.catalog.begin() as session:
        words = "C-STORE from CT_4 refused with 0xA900: a Study Instance UID is missing"
        events.record(session, scene.now, "warning", "intake.mismatch", words, study="1.2.3.4")
    said = asked(cli, config, "1.2.3.4")
    assert said.code == 1
    assert "1.2.3.4 is not here" in said.everything
    assert "refused with 0xA900" in said.everything
    nothing = asked(cli, config, "1.2.3.5")
    assert nothing.code == 1
    assert "1.2.3.5 is not here" in nothing.everything
    assert "turned away" in nothing.everything


def test_a_study_is_found_by_the_beginning_of_its_uid_and_none_is_guessed_at(
    scene: Scene, cli: Cli, config: Path
) -> None:
    uid = scene.uid("failed")
    assert f"{uid}: failed" in asked(cli, config, uid[:-3]).everything
    asked(cli, config, "2.25.").refused("several studies", "Give the whole UID")
    asked(cli, config, "DOE^JANE").refused("is no Study Instance UID")


def test_the_command_of_reader_studies_says_where_one_study_of_a_pacs_is_told(cli: Cli) -> None:
    first = " ".join(cli("study", "--help").everything.split()[:60])
    assert "whyray status --study UID" in first


def test_what_had_expired_and_was_stored_anew_is_not_counted_as_rejected(scene: Scene, cli: Cli, config: Path) -> None:
    uid = scene.uid("done")
    with scene.catalog.begin() as session:
        study = session.scalars(select(Study).where(Study.study_instance_uid == uid)).one()
        (first, *_) = (one for group in studies.routable(session, study.id).values() for one in group)
        never_came = "1.2.3.4.5"
        for sop_instance_uid in (first.sop_instance_uid, never_came):
            session.add(
                Rejection(
                    study_instance_uid=uid,
                    sop_instance_uid=sop_instance_uid,
                    code="113039",
                    document_uid="2.25.9",
                    rejected_at=first.received_at - timedelta(hours=1),
                )
            )
    assert json.loads(asked(cli, config, uid, "--json").out)["rejected"] == 0
