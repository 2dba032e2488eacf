"""`whyray rejection`: what a PACS has rejected is shown, and lifted for a reason."""

from __future__ import annotations

from pathlib import Path

from cli.conftest import Cli
from whyray.catalog import Catalog, Event, RejectionNote, Study, rejections, sqlite_url, studies

UID, NOTE = "1.2.3", "1.2.3.99"


def rejected(folder: Path) -> Catalog:
    """A catalog with a study of which an instance is rejected."""
    (folder / "whyray.yaml").write_text("state: state\n")
    (folder / "state").mkdir()
    catalog = Catalog(sqlite_url(folder / "state" / "catalog.sqlite"))
    with catalog.begin() as session:
        now = catalog.clock()
        received = studies.Received(UID, "1.2.3.4", "1.2.3.4.5", "1.2", "1.2.1", "DX", "a" * 64, 1, "a", "PACS")
        studies.add_instance(session, received, now)
        study = session.query(Study).one()
        note = RejectionNote(NOTE, now, "113037", frozenset({"1.2.3.4.5", "1.2.3.4.6"}))
        rejections.enter(session, study.id, note, now, actor="PACS")
    return catalog


def test_what_is_rejected_is_listed_and_lifted(cli: Cli, tmp_path: Path) -> None:
    catalog = rejected(tmp_path)
    listed = cli("rejection", "list")
    assert listed.code == 0
    assert listed.out.strip().split("\t")[1:] == ["2", "113037 Rejected for Patient Safety Reasons", UID, NOTE]
    assert cli("rejection", "list", "--study", "1.2.4").out == ""
    cli("rejection", "lift", UID, "--note", "1.2.3.98", "--reason", "ticket 4711").refused("is rejected")
    lifted = cli("rejection", "lift", UID, "--reason", "ticket 4711")
    assert (lifted.code, lifted.out.strip()) == (
        0,
        "2 instances rejected no more: the study is routed anew",
    )
    with catalog.read() as session:
        event = session.query(Event).filter(Event.kind == "rejection.lifted").one()
    assert "ticket 4711" in event.message
    assert event.actor.startswith("command line, ")
    assert cli("rejection", "list").out.split("\t")[2] == "113037 Rejected for Patient Safety Reasons, lifted"
    catalog.close()


def test_without_a_reason_nothing_is_lifted(cli: Cli, tmp_path: Path) -> None:
    rejected(tmp_path).close()
    assert cli("rejection", "lift", UID).code == 2
    cli("rejection", "lift", UID, "--reason", " ").refused("for a reason")
    assert cli("rejection", "list").out.split("\t")[2].startswith("113037")
