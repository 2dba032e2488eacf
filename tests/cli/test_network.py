"""`whyray route test`, `send` and `status`: what goes where, whether it is taken, whether all is well."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from cli.conftest import Cli
from peers import StoreScpFactory, free_port
from synthetic import LATIN, radiograph, write
from whyray import admin
from whyray.catalog import Catalog, JobState, processes, sqlite_url
from whyray.cli import status
from whyray.storage import open_folder


def film(folder: Path, **options: object) -> Path:
    (path,) = write([radiograph(np.full((32, 24), 300, np.uint16), **options)], folder)  # type: ignore[arg-type]
    return path


# --- route test --------------------------------------------------------------------------------------------------
def test_a_matching_file_names_the_route_and_the_package(cli: Cli, site: Path, tmp_path: Path) -> None:
    said = cli("route", "test", film(tmp_path / "film"), "--config", site)
    assert said.code == 0, said.everything
    assert "→ films [chest]: planted@1 on 1 series" in said.everything
    assert LATIN.identifier not in said.everything


def test_a_route_for_radiologists_tells_what_it_explains_with_in_which_order_and_why(
    cli: Cli, site: Path, tmp_path: Path
) -> None:
    site.write_text(site.read_text().replace("run: planted@1", "run: planted@1\n  explain: radiologist"))
    said = cli("route", "test", film(tmp_path / "film"), "--config", site)
    assert said.code == 0, said.everything
    assert "planted@1.0.0 is explained, in this order, by grad-cam, narrative" in said.everything
    assert "its map is grad-cam: nothing was measured against boxes at onboarding" in said.everything


def test_a_file_that_no_route_takes_names_the_clause_that_refused_and_what_was_found(
    cli: Cli, site: Path, tmp_path: Path
) -> None:
    said = cli("route", "test", film(tmp_path / "film", body_part="KNEE"), "--config", site)
    assert said.code == 1
    assert "BodyPartExamined" in said.everything
    assert "KNEE" in said.everything
    assert "no route" in said.everything


def test_a_file_that_cannot_be_routed_takes_no_other_with_it_and_is_told_by_a_name_that_can_be_shown(
    cli: Cli, site: Path, tmp_path: Path
) -> None:
    film(tmp_path / "film")
    folder = os.fsencode(tmp_path / "film")
    Path(os.fsdecode(folder + b"/r\xf6nt\ngen.dcm")).write_bytes(b"nothing")
    Path(os.fsdecode(folder + b"/without-uids.dcm")).write_bytes(b"\0" * 128 + b"DICM")
    said = cli("route", "test", tmp_path / "film", "--config", site)
    assert said.code == 0, said.everything
    assert "r\\xf6nt\\ngen.dcm: expected a DICOM file" in said.out
    assert "without-uids.dcm: never routed: it lacks StudyInstanceUID, SeriesInstanceUID" in said.out


def test_route_test_refuses_what_is_not_dicom_and_what_is_not_there(cli: Cli, site: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not DICOM")
    cli("route", "test", tmp_path / "notes.txt", "--config", site).refused("DecodeError", "notes.txt")
    cli("route", "test", tmp_path / "nowhere.dcm", "--config", site).refused("nowhere.dcm")
    cli("route", "test", film(tmp_path / "film"), "--config", "nowhere.yaml").refused("ConfigError", "nowhere.yaml")


# --- send --------------------------------------------------------------------------------------------------------
def test_files_arrive_and_their_number_is_told(cli: Cli, storescp: StoreScpFactory, tmp_path: Path) -> None:
    archive = storescp(ae_title="ARCHIVE")
    sent = film(tmp_path / "film")
    said = cli("send", tmp_path / "film", f"ARCHIVE@127.0.0.1:{archive.port}")
    assert said.code == 0, said.everything
    assert "1 of 1 taken by ARCHIVE" in said.everything
    assert set(archive.files()) == {sent.stem}


def test_what_is_not_taken_is_named_with_advice_and_exit_code_1(
    cli: Cli, storescp: StoreScpFactory, tmp_path: Path
) -> None:
    archive = storescp(ae_title="ARCHIVE")
    film(tmp_path / "film")
    (tmp_path / "film" / "notes.txt").write_text("not DICOM")
    said = cli("send", tmp_path / "film", f"ARCHIVE@127.0.0.1:{archive.port}")
    assert said.code == 1
    assert "notes.txt" in said.everything
    assert "1 of 2 taken" in said.everything
    assert "Send DICOM files" in said.everything
    assert "Traceback" not in said.everything


def test_a_peer_that_is_down_is_told_for_each_file(cli: Cli, tmp_path: Path) -> None:
    said = cli("send", film(tmp_path / "film"), f"NOBODY@127.0.0.1:{free_port()}")
    assert said.code == 1
    assert "can't be connected to" in said.everything
    assert "firewall" in said.everything


def test_a_peer_that_is_misspelt_and_a_file_that_is_not_there_are_refused(cli: Cli, tmp_path: Path) -> None:
    cli("send", film(tmp_path / "film"), "127.0.0.1:104").refused("ConfigError", "AE@host:port")
    cli("send", "nowhere.dcm", "PACS@127.0.0.1:104").refused("nowhere.dcm")


# --- status ------------------------------------------------------------------------------------------------------
@pytest.fixture
def catalog(site: Path) -> Catalog:
    """That of a service that has run once: its storage is there, too."""
    open_folder(site.parent / "state" / "instances")
    return Catalog(sqlite_url(site.parent / "state" / "catalog.sqlite"))


def _alive(catalog: Catalog, role: str) -> None:
    with catalog.begin() as session:
        processes.seen(session, f"{role}@here:1", role, catalog.clock(), {"pid": os.getpid()})


def test_status_before_the_first_start_says_so_and_makes_nothing(cli: Cli, site: Path) -> None:
    said = cli("status", "--config", site)
    assert said.code == 1
    assert "no role runs" in said.everything
    assert not (site.parent / "state").exists()


@pytest.mark.parametrize("command", [("status",), ("account", "list")])
def test_a_catalog_of_a_later_version_is_told_with_what_to_do(
    cli: Cli, site: Path, catalog: Catalog, command: tuple[str, ...]
) -> None:
    with catalog.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    cli(*command, "--config", site).refused("CatalogNewer", "schema is 9999", "restore the backup")


def test_status_with_living_roles_is_good_in_words_in_json_and_in_silence(
    cli: Cli, site: Path, catalog: Catalog
) -> None:
    for role in ("intake", "worker"):
        _alive(catalog, role)
    words = cli("status", "--config", site)
    assert words.code == 0
    assert "alive" in words.out
    assert "Nothing is stuck." in words.out
    silent = cli("status", "--quiet", "--config", site)
    assert (silent.code, silent.out, silent.err) == (0, "", "")
    status = json.loads(cli("status", "--json", "--config", site).out)
    assert status["healthy"] is True
    assert {role["role"] for role in status["roles"]} == {"intake", "worker"}


def test_a_lost_role_is_exit_code_1_even_in_silence(cli: Cli, site: Path, catalog: Catalog) -> None:
    _alive(catalog, "intake")
    with catalog.begin() as session:
        processes.seen(session, "worker@gone:2", "worker", catalog.clock() - 3 * processes.ALIVE, {})
    silent = cli("status", "--quiet", "--config", site)
    assert (silent.code, silent.out) == (1, "")
    told = cli("status", "--config", site).everything
    assert "lost" in told
    assert "What to do: " in told


def test_status_and_the_page_call_things_alike() -> None:
    """Of what both show, the page's first view has the words."""
    page = (Path(admin.__file__).parent / "static" / "overview.js").read_text("utf-8")
    terminal = Path(status.__file__).read_text("utf-8")
    for words in ("Processes", "Needs attention", "Nothing is stuck.", "What to do: ", "hindered", "ended", "lost"):
        assert words in page, words
        assert words in terminal, words
    assert "last sign of life" in page.lower()
    assert "last sign of life" in terminal
    tiles = set(re.findall(r'tile\("(?:jobs|studies) (\w+)"', page))
    assert tiles >= {"queued", "running", "waiting", "failed", "done", "receiving"}
    assert tiles <= {state.value for state in JobState} | {"receiving"}
    assert [status._ago(seconds) for seconds in (2, 80, 4000, 7200, 200000)] == [
        "now", "80 s ago", "67 min ago", "2 h ago", "2 d ago",
    ]  # fmt: skip


def test_a_catalog_that_cannot_be_read_is_told_in_two_lines(cli: Cli, site: Path) -> None:
    (site.parent / "state").mkdir()
    (site.parent / "state" / "catalog.sqlite").write_bytes(b"not a database, but long enough to be looked at" * 9)
    cli("status", "--config", site).refused("the catalog's file is damaged")
