"""Bad input, answered clearly and survived: one running service takes all of it, and a good study afterwards."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEG2000Lossless
from pynetdicom import AE, Association
from pynetdicom.sop_class import Verification
from sqlalchemy import select

from intake.scu import Sender, encode
from peers import StoreScp, free_port, until
from planted import planted_package
from running import Running
from synthetic import ball, compress, radiograph, slices, stack, volume_of
from whyray.catalog import DeliveryState, Job, JobState

PRIVATE_CLASS = "1.2.840.113619.4.30"
SUCCESS, CANNOT_UNDERSTAND = 0x0000, 0xC000
PERMANENT, BY_USER = 1, 1
"""Result and source of PS3.8 table 9-21."""


# --- the studies -------------------------------------------------------------------------------------------------
def film(name: str, **options: object) -> Dataset:
    pixels = np.full((64, 56), 300, np.uint16)
    pixels[20:30, 30:40] = 4000
    return radiograph(pixels, study=name, series=name, window=(2048, 4096), **options)  # type: ignore[arg-type]


def scan(name: str, count: int = 12, **options: object) -> list[Dataset]:
    planes = stack(count, (40, 36), distance=2.0, **options)  # type: ignore[arg-type]
    return list(slices(volume_of(planes, ball((0, 0, 0), 6.0)), planes, study=name, series=name))


def _no_pixel_data(name: str) -> list[Dataset]:
    image = film(name)
    del image.PixelData
    return [image]


def _cut_codestream(name: str) -> list[Dataset]:
    """A whole DICOM object around half a JPEG 2000 codestream: only decoding shows it."""
    image = compress(film(name), JPEG2000Lossless)
    (frame,) = generate_frames(image.PixelData, number_of_frames=1)
    image.PixelData = encapsulate([frame[: len(frame) // 2 // 2 * 2]])
    image["PixelData"].is_undefined_length = True
    return [image]


def _fewer_pixels_than_promised(name: str) -> list[Dataset]:
    image = film(name)
    image.PixelData = image.PixelData[: len(image.PixelData) // 2]
    return [image]


def _all_in_one_place(name: str) -> list[Dataset]:
    images = scan(name)
    for image in images[1:]:
        image.ImagePositionPatient = images[0].ImagePositionPatient
        image.ImageOrientationPatient = images[0].ImageOrientationPatient
    return images


def _without(*keywords: str) -> Callable[[str], list[Dataset]]:
    def made(name: str) -> list[Dataset]:
        images = scan(name)
        for image in images:
            for keyword in keywords:
                delattr(image, keyword)
        return images

    return made


def _across(name: str, number: int) -> Dataset:
    """One sagittal slice of the same series."""
    (plane,) = stack(1, (40, 36), rotation=(0, 90, 0))
    (image,) = slices(volume_of([plane], ball((0, 0, 0), 6.0)), [plane], study=name, series=name)
    image.SOPInstanceUID = f"{image.StudyInstanceUID[:-2]}{number}"
    return image


def _one_slice_of_each_orientation(name: str) -> list[Dataset]:
    return [*scan(name, count=1), _across(name, 90)]


def _localiser_and_stack(name: str) -> list[Dataset]:
    localiser = _across(name, 90)
    localiser.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    return [localiser, *scan(name)]


def _private_class(name: str) -> list[Dataset]:
    data = film(name)
    data.SOPClassUID = PRIVATE_CLASS
    for keyword in ("PixelData", "Rows", "Columns"):
        delattr(data, keyword)
    return [data]


@dataclass(frozen=True)
class Bad:
    """One kind of bad input: what the peer is told, and what the catalog says of the job.

    `code` None: no job comes of it. `says`: words of the job's message; {study}, {series}, {instance} stand for UIDs.
    """

    name: str
    made: Callable[[str], Sequence[Dataset]]
    code: str | None
    says: tuple[str, ...]
    status: int = SUCCESS
    cut: int = 0


CASES = (
    Bad("truncated", lambda name: [film(name)], None, (), CANNOT_UNDERSTAND, cut=1001),
    Bad("no UIDs", lambda name: [_nameless(name)], None, (), CANNOT_UNDERSTAND),
    Bad("no pixel data", _no_pixel_data, "DecodeError", ("{instance}", "expected pixel data, found none")),
    Bad("codestream cut", _cut_codestream, "DecodeError", ("{instance}", "JPEG 2000", "can't be decoded")),
    Bad("pixels missing", _fewer_pixels_than_promised, "DecodeError", ("{instance}", "bytes", "3584", "7168")),
    Bad("one slice", lambda name: scan(name, 1), "ImageError", ("{study}", "planar", "takes a volume")),
    Bad(
        "one slice of each orientation",
        _one_slice_of_each_orientation,
        "ImageError",
        ("{study}", "planar", "takes a volume"),
    ),
    Bad("one place", _all_in_one_place, "GeometryError", ("{series}", "expected slices in different places", "12")),
    Bad("no spacing", _without("PixelSpacing"), "GeometryError", ("{series}", "Pixel Spacing", "12 of 12")),
    Bad(
        "no position",
        _without("ImagePositionPatient"),
        "GeometryError",
        ("{series}", "expected Image Position", "12 of 12"),
    ),
    Bad("unknown class", _private_class, "ImageError", ("{instance}", "expected an image", PRIVATE_CLASS)),
    Bad("NaN", lambda name: [film(name, body_part="NAN")], "ModelOutputError", ("{study}", "planted-nan@1.0.0", "NaN")),
    Bad(
        "unloadable",
        lambda name: [film(name, body_part="UNLOADABLE")],
        "PackageError",
        ("planted-unloadable", "model.onnx"),
    ),
)


def _nameless(name: str) -> Dataset:
    image = film(name)
    del image.SeriesInstanceUID
    return image


# --- the service -------------------------------------------------------------------------------------------------
def send(running: Running, images: Sequence[Dataset], *, cut: int = 0, **options: str) -> list[int]:
    """Send in one association and release it; the statuses that the service answered."""
    contexts = {(str(image.SOPClassUID), (str(image.file_meta.TransferSyntaxUID),)) for image in images}
    with Sender(running.port, contexts=tuple(sorted(contexts)), calling="MODALITY", **options) as sender:
        return [
            sender.store(encode(image)[: -cut or None], str(image.SOPInstanceUID), str(image.SOPClassUID)).Status
            for image in images
        ]


def route(name: str, package: str, **when: object) -> dict[str, object]:
    return {
        "name": name,
        "when": when,
        "complete": {"on_release": True, "quiet_for": "1s", "at_most": "5m"},
        "run": package,
        "send": {"to": ["archive"], "as": ["sc", "sr"]},
    }


@dataclass
class Afterwards:
    """The service when all bad input is through: what it answered, and its jobs by the name of the case."""

    running: Running
    archive: StoreScp
    statuses: dict[str, list[int]]
    images: dict[str, list[Dataset]]

    def job(self, name: str) -> Job | None:
        """The job of this case's study."""
        uid = str(self.images[name][0].StudyInstanceUID)
        with self.running.catalog.read() as session:
            jobs = [job for job in session.scalars(select(Job)) if job.study.study_instance_uid == uid]
        assert len(jobs) <= 1
        return jobs[0] if jobs else None


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Afterwards]:
    folder = tmp_path_factory.mktemp("bad")
    packages = folder / "packages"
    planted_package(packages, shape=(64, 64), modalities=("CR", "DX"))
    planted_package(packages, shape=(64, 64), name="planted-nan", broken="nan")
    unloadable = planted_package(packages, shape=(64, 64), name="planted-unloadable")
    planted_package(
        packages,
        name="planted-volume",
        kind="volume",
        shape=(16, 32, 32),
        spacing=(2.0, 1.0, 1.0),
        window=(-350.0, 1300.0),
    )
    with ExitStack() as stack:
        archive = stack.enter_context(StoreScp(folder / "archive" / "received", free_port(), "ARCHIVE"))
        running = Running(
            folder / "whyray",
            {
                "listener": {"accept_unknown_peers": False, "peers": {"MODALITY": "127.0.0.1", "TESTS": "127.0.0.1"}},
                "destinations": {"archive": {"ae_title": "ARCHIVE", "host": "127.0.0.1", "port": archive.port}},
                "packages": {"folders": [str(packages)]},
                "routes": [
                    route("films", "planted", Modality="CR", BodyPartExamined="CHEST"),
                    route("volumes", "planted-volume", Modality="CT"),
                    route("nan", "planted-nan", BodyPartExamined="NAN"),
                    route("unloadable", "planted-unloadable", BodyPartExamined="UNLOADABLE"),
                ],
            },
        )
        stack.callback(running.stop)
        running.start()
        (unloadable / "model.onnx").write_bytes(b"not a graph")
        images = {case.name: list(case.made(case.name)) for case in CASES}
        statuses = {case.name: send(running, images[case.name], cut=case.cut) for case in CASES}
        expected = sum(case.code is not None for case in CASES)
        until(
            lambda: [job.state for job in running.jobs()] == [JobState.FAILED] * expected,
            what=f"all bad studies refused ({running.log})",
            deadline=120,
        )
        yield Afterwards(running, archive, statuses, images)


def _good_study_comes_through(service: Afterwards, images: Sequence[Dataset]) -> Job:
    running, uid = service.running, images[0].StudyInstanceUID
    before = {job.id for job in running.jobs()}
    assert set(send(running, images)) == {SUCCESS}
    ended = (JobState.DONE, JobState.FAILED)
    (job,) = until(
        lambda: [job for job in running.jobs() if job.id not in before and job.state in ended],
        what=f"the good study's job ({running.log})",
        deadline=60,
    )
    assert job.state is JobState.DONE, job.error_message
    results = {result.id for result in running.results() if result.job_id == job.id}
    until(
        lambda: (
            {DeliveryState.SENT}
            == {delivery.state for delivery in running.deliveries() if delivery.result_id in results}
        ),
        what="the good study's results in the archive",
        deadline=60,
    )
    came = [dcmread(path, stop_before_pixels=True) for path in service.archive.files().values()]
    assert sum(dataset.StudyInstanceUID == uid for dataset in came) >= 2
    assert isinstance(job, Job)
    return job


# --- what is told ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_peer_is_told_at_once_what_the_door_can_see(service: Afterwards, case: Bad) -> None:
    assert set(service.statuses[case.name]) == {case.status}


@pytest.mark.parametrize("case", [case for case in CASES if case.code], ids=lambda case: case.name)
def test_the_job_says_what_was_expected_what_was_found_and_what_to_do(service: Afterwards, case: Bad) -> None:
    job, first = service.job(case.name), service.images[case.name][0]
    assert job is not None
    assert (job.state, job.error_code, job.attempt) == (JobState.FAILED, case.code, 1), job.error_message
    uids = {"study": first.StudyInstanceUID, "series": first.SeriesInstanceUID, "instance": first.SOPInstanceUID}
    for words in case.says:
        assert words.format(**uids) in job.error_message
    assert job.error_advice
    assert not any(result.job_id == job.id for result in service.running.results())


@pytest.mark.parametrize("case", [case for case in CASES if not case.code], ids=lambda case: case.name)
def test_what_is_refused_at_the_door_is_an_event_and_no_job(service: Afterwards, case: Bad) -> None:
    assert service.job(case.name) is None
    (event, *_) = service.running.events("intake.not-understood")
    assert "C-STORE from MODALITY refused with 0xC000" in event.message


def test_a_wrong_called_ae_title_is_rejected_by_name(service: Afterwards) -> None:
    assert rejected(service.running.port, called="WHYNOT", calling="MODALITY") == (PERMANENT, BY_USER, 7)
    _rejected(service, "it called 'WHYNOT', but this is 'WHYRAY'")


def test_a_peer_that_is_not_named_is_rejected_by_name(service: Afterwards) -> None:
    assert rejected(service.running.port, called="WHYRAY", calling="STRANGER") == (PERMANENT, BY_USER, 3)
    _rejected(service, "STRANGER")
    _rejected(service, "listener.peers does not name it")


def rejected(port: int, *, called: str, calling: str) -> tuple[int, int, int]:
    """Result, source and reason of the A-ASSOCIATE-RJ; asked again where pynetdicom, on a busy machine, says abort."""
    ae = AE(calling)
    ae.add_requested_context(Verification)

    def answered() -> Association | None:
        association = ae.associate("127.0.0.1", port, ae_title=called)
        return None if association.is_aborted else association

    association = until(answered, what="an answer to the request")
    assert association.is_rejected
    answer = association.acceptor.primitive
    return answer.result, answer.result_source, answer.diagnostic


def _rejected(service: Afterwards, words: str) -> None:
    until(
        lambda: [event for event in service.running.events("intake.rejected") if words in event.message],
        what=f"the event that says {words}",
    )


def test_a_localiser_beside_its_stack_is_left_out_and_the_stack_is_answered(service: Afterwards) -> None:
    images = _localiser_and_stack("localiser and stack")
    job = _good_study_comes_through(service, images)
    used = {uid for finding in job.findings for uid in finding["images"]}
    assert used == {image.SOPInstanceUID for image in images[1:]}


def test_a_route_to_a_package_that_does_not_exist_is_refused_by_check_and_by_reload(service: Afterwards) -> None:
    running = service.running
    good = running.path.read_text()
    running.path.write_text(good.replace("run: planted-volume", "run: planted-volum"))
    # beside the running service, whose other package no longer loads: the check names both
    checked = subprocess.run(
        [sys.executable, "-m", "whyray", "config", "check", str(running.path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 2
    assert "planted-volum" in checked.stderr
    assert "line" in checked.stderr
    assert "planted-volume" in checked.stderr, "the nearest that there is"
    assert "planted-unloadable" in checked.stderr
    assert "Traceback" not in checked.stderr + checked.stdout
    refused = until(lambda: running.events("config.refused"), what="the refusal", deadline=60)
    assert "the old configuration stays in force" in refused[0].message
    assert "planted-volum" in refused[0].message
    running.path.write_text(good)


def test_a_good_study_still_comes_through_after_all_that(service: Afterwards) -> None:
    job = _good_study_comes_through(service, [film("good")])
    assert job.findings[0]["present"]
    pids = dict(service.running.roles())
    assert {"intake", "worker", "delivery", "admin"} <= set(pids)
    log = service.running.log.read_text()
    assert "starting it again" not in log, "no role has died of it"
    assert "Traceback" not in log
    assert "Doe" not in log
