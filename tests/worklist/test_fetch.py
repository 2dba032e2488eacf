"""Images that a workitem names are fetched from a real archive by WADO-RS, and no further than it is allowed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from sqlalchemy import select

from intake.web import BOUNDARY, multipart, part10
from peers import OrthancServer
from site_under_test import ROUTE, Site
from synthetic import write
from whyray.base.errors import StorageUnavailable
from whyray.catalog import Instance, JobState, Study, studies, workitems
from whyray.storage import FolderStorage, FolderWriter
from whyray.worklist.fetch import _not_kept
from worklist.conftest import MakePerformer, Served, film, workitem


@pytest.fixture
def archived(shared_orthanc: OrthancServer, site: Site, tmp_path: Path) -> list[Dataset]:
    """Two films of one series in Orthanc, which the site names as the archive."""
    films = [film(number, study=str(tmp_path), series=str(tmp_path)) for number in (1, 2)]
    shared_orthanc.upload(write(films, tmp_path / "films"))
    archive = {"url": f"http://127.0.0.1:{shared_orthanc.http_port}/dicom-web"}
    pacs = {"ae_title": "PACS", "host": "127.0.0.1", "port": 104}
    route = {**ROUTE, "send": {"to": ["pacs"], "as": ["sr"]}}
    site.configure(destinations={"archive": archive, "pacs": pacs}, routes=[route])
    return films


def held(site: Site) -> Sequence[Instance]:
    with site.catalog.read() as session:
        return list(session.scalars(select(Instance).order_by(Instance.sop_instance_uid)))


@pytest.mark.parametrize("whole_series", [False, True], ids=["one instance named", "the whole series"])
def test_what_is_named_is_fetched_and_worked_on_and_no_other_route_is_asked(
    site: Site, served: Served, performer: MakePerformer, archived: list[Dataset], whole_series: bool
) -> None:
    uid = served.create(workitem(archived[0], whole_series=whole_series))
    performer(images="archive").step()
    wanted = archived if whole_series else archived[:1]
    rows = held(site)
    assert {instance.sop_instance_uid for instance in rows} == {instance.SOPInstanceUID for instance in wanted}
    assert {instance.calling_ae for instance in rows} == {"archive"}
    for instance in rows:
        (original,) = [one for one in wanted if instance.sop_instance_uid == one.SOPInstanceUID]
        assert dcmread(site.storage.root / instance.key).PixelData == original.PixelData
    assert served.state(uid) == "IN PROGRESS"
    (job,) = site.jobs()
    assert job.state is JobState.QUEUED
    site.clock.tick(3600)
    site.router().step()
    assert [row.id for row in site.jobs()] == [job.id], "the route would have taken it, had a PACS sent it"


def test_what_was_fetched_is_routed_after_all_when_the_pacs_sends_it(
    site: Site, served: Served, performer: MakePerformer, archived: list[Dataset]
) -> None:
    served.create(workitem(archived[0]))
    performer(images="archive").step()
    same = held(site)[0]
    received = studies.Received(
        study_instance_uid=str(archived[0].StudyInstanceUID),
        series_instance_uid=str(archived[0].SeriesInstanceUID),
        sop_instance_uid=same.sop_instance_uid,
        sop_class_uid=same.sop_class_uid,
        transfer_syntax_uid=same.transfer_syntax_uid,
        modality="CR",
        sha256=same.sha256,
        size=same.size,
        key="another",
        calling_ae="PACS",
    )
    for _ in range(2):
        with site.catalog.begin() as session:
            assert studies.add_instance(session, received, site.clock()) is studies.Arrival.DUPLICATE
    with site.catalog.read() as session:
        (study,) = session.scalars(select(Study))
        assert (study.received_sequence, study.routed_sequence) == (1, 0)


def test_an_archive_that_lacks_the_images_gives_the_workitem_back_and_one_that_is_down_is_waited_for(
    site: Site, served: Served, performer: MakePerformer, archived: list[Dataset]
) -> None:
    stranger = film(9, study="nowhere")
    lost = served.create(workitem(stranger))
    one = performer(images="archive")
    one.step()
    one.step()
    assert served.state(lost) == "CANCELED"
    down = {"archive": {"url": "http://127.0.0.1:9/dicom-web"}, "pacs": {"ae_title": "PACS", "host": "127.0.0.1"}}
    up = {name: dict(destination) for name, destination in _destinations(site).items()}
    site.configure(destinations=down, routes=[{**ROUTE, "send": {"to": ["pacs"], "as": ["sr"]}}])
    waiting = served.create(workitem(archived[0]))
    one.step()
    assert served.state(waiting) == "IN PROGRESS"
    assert site.jobs() == []
    site.configure(destinations=up, routes=[{**ROUTE, "send": {"to": ["pacs"], "as": ["sr"]}}])
    site.clock.tick(60)
    one.step()
    assert len(site.jobs()) == 1


def test_a_series_that_is_here_is_not_fetched(
    site: Site, served: Served, performer: MakePerformer, archived: list[Dataset]
) -> None:
    site.receive(archived)
    served.create(workitem(*archived))
    performer(images="archive").step()
    assert {instance.calling_ae for instance in held(site)} == {"PACS"}
    assert len(site.jobs()) == 1


Answer = Callable[[int], tuple[int, bytes]]
"""How often it was asked before → HTTP status and body."""


@pytest.fixture
def archive_that(site: Site) -> Iterator[Callable[[Answer], list[str]]]:
    """Gives the site an archive that answers WADO-RS as it is told; the list is of the paths that it was asked for."""
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Answer) -> list[str]:
        asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = answer(len(asked))
                asked.append(self.path)
                self.send_response(status)
                self.send_header("Content-Type", f'multipart/related; type="application/dicom"; boundary={BOUNDARY}')
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        archive = {"url": f"http://127.0.0.1:{servers[-1].server_port}/dicom-web"}
        pacs = {"ae_title": "PACS", "host": "127.0.0.1", "port": 104}
        site.configure(
            destinations={"archive": archive, "pacs": pacs},
            routes=[{**ROUTE, "send": {"to": ["pacs"], "as": ["sr"]}}],
        )
        return asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("how", ["broken off", "206 Partial Content"])
def test_a_series_of_which_a_part_was_given_is_asked_for_again_before_anything_is_made_of_it(
    site: Site, served: Served, performer: MakePerformer, archive_that: Callable[[Answer], list[str]], how: str
) -> None:
    films = [film(number, study="in parts", series="in parts") for number in (1, 2)]
    whole = multipart(*(part10(one) for one in films))
    some = (206, multipart(part10(films[0]))) if how != "broken off" else (200, whole[: len(whole) - 300])
    asked = archive_that(lambda before: some if before == 0 else (200, whole))
    uid = served.create(workitem(*films, whole_series=True))
    one = performer(images="archive")
    one.step()
    assert [instance.sop_instance_uid for instance in held(site)] == [films[0].SOPInstanceUID]
    assert (site.jobs(), served.state(uid)) == ([], "IN PROGRESS")
    site.clock.tick(60)
    one.step()
    assert len(asked) == 2
    assert {instance.sop_instance_uid for instance in held(site)} == {one.SOPInstanceUID for one in films}
    assert len(site.jobs()) == 1


def test_what_a_full_storage_does_not_take_is_fetched_when_there_is_room_however_long_that_takes(
    site: Site,
    served: Served,
    performer: MakePerformer,
    archive_that: Callable[[Answer], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After sixty attempts, some nine hours, the workitem was cancelled: a weekend is longer."""
    image = film(1, study="long", series="long")
    asked = archive_that(lambda _: (200, multipart(part10(image))))
    uid, one = served.create(workitem(image)), performer(images="archive")

    writer = type(site.storage).writer

    def full(storage: FolderStorage, *, suffix: str = "", prefix: bytes = b"") -> FolderWriter:
        if suffix == ".dcm":
            raise StorageUnavailable("storage at /data is full")
        return writer(storage, suffix=suffix, prefix=prefix)  # a workitem is small

    with monkeypatch.context() as patched:
        patched.setattr(type(site.storage), "writer", full)
        one.step()
        with site.catalog.begin() as session:
            row = workitems.get(session, workitems.OWN, uid)
            assert row is not None
            assert (row.attempt, row.outages) == (0, 1)
            row.attempt = 59
        for _ in range(8):
            site.clock.tick(3600)
            one.step()
    assert (len(asked), served.state(uid), site.jobs()) == (9, "IN PROGRESS", [])
    with site.catalog.read() as session:
        row = workitems.get(session, workitems.OWN, uid)
    assert row is not None
    assert (row.attempt, row.outages, row.not_before) == (59, 9, site.clock() + timedelta(minutes=10))
    assert str(row.reason).startswith("StorageUnavailable")
    site.clock.tick(3600)
    one.step()
    assert len(site.jobs()) == 1


def _destinations(site: Site) -> dict[str, dict[str, object]]:
    return {
        name: destination.model_dump(mode="json", exclude_unset=True)
        for name, destination in site.config.destinations.items()
    }


def test_an_instance_that_is_larger_than_allowed_here_is_not_fetched_sixty_times() -> None:
    """It is as large at the next try; what else is out of resources (A701: the catalog) may pass."""
    too_large = _not_kept(0xA702, "too large")
    assert not too_large.retriable
    assert "max_instance_size" in too_large.advice
    assert _not_kept(0xA701, "the catalog").retriable
    assert _not_kept(0xA700, "the disk").waited_out
