"""Both PACS of the demo do what the demo needs: store, route to WhyRay, tell results from sources, commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
)

from peers import StoreScp, StoreScpFactory, free_port, until
from whyray.base.errors import PeerUnreachable
from whyray.config import DicomDestination
from whyray.delivery import Caller, echo, send_files
from whyray.demo.archive import ArchivePacs
from whyray.demo.orthanc import find_orthanc
from whyray.demo.orthanc_pacs import OrthancPacs
from whyray.demo.pacs import DemoPacs, Modality
from whyray.demo.phantom import Scan, write_phantom
from whyray.demo.studies import KINDS, WITHOUT_STATEMENT, demo_studies

Starter = Callable[[Modality], DemoPacs]


@pytest.fixture(params=["archive", "orthanc"])
def pacs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Starter]:
    """Starts one of the two, with its WhyRay."""
    with ExitStack() as stack:

        def start(whyray: Modality) -> DemoPacs:
            made: DemoPacs
            if request.param == "archive":
                made = ArchivePacs(tmp_path / "pacs", dicom_port=free_port(), whyray=whyray)
                stack.callback(made.stop)
            else:
                if find_orthanc() is None:
                    pytest.skip("Orthanc is not installed: apt-get install orthanc orthanc-dicomweb")
                made = OrthancPacs(tmp_path / "pacs", dicom_port=free_port(), http_port=free_port(), whyray=whyray)
                stack.callback(made.server.kill)
            made.start()
            return made

        yield start


def series(folder: Path, seed: int = 1) -> list[Path]:
    return write_phantom(folder, Scan(slices=4, size=32, spacing=(7.0, 7.0), seed=seed))


def uids(paths: list[Path]) -> set[str]:
    return {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in paths}


def as_destination(pacs: DemoPacs) -> DicomDestination:
    return DicomDestination(ae_title=pacs.ae_title, host=pacs.host, port=pacs.dicom_port)


def as_modality(scp: StoreScp) -> Modality:
    return Modality(scp.ae_title, scp.host, scp.port)


def test_a_stored_study_is_routed_and_what_comes_back_is_told_apart(
    pacs: Starter, storescp: StoreScpFactory, tmp_path: Path
) -> None:
    whyray = storescp(ae_title="WHYRAY")
    demo = pacs(as_modality(whyray))
    source = series(tmp_path / "source")
    demo.store(source)
    until(lambda: set(whyray.files()) == uids(source), what="routing to WhyRay")
    study = str(dcmread(source[0], stop_before_pixels=True).StudyInstanceUID)
    assert demo.results(study) == []
    result = dcmread(source[0])
    result.SOPInstanceUID = result.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    result.SeriesInstanceUID = "1.2.3"
    result.save_as(tmp_path / "result.dcm")
    assert all(outcome.stored for outcome in send_files([tmp_path / "result.dcm"], as_destination(demo)))
    (back,) = demo.results(study)
    assert dcmread(back).SOPInstanceUID == "1.2.3.4"
    assert demo.studies() == {study: 5}
    # a further study is routed after it, and by then the result would have been sent back if it were ever to be
    other = series(tmp_path / "other", seed=2)
    demo.store(other)
    until(lambda: uids(other) <= set(whyray.files()), what="routing of the next study")
    assert set(whyray.files()) == uids(source) | uids(other)


def test_results_stay_after_a_restart(pacs: Starter, storescp: StoreScpFactory, tmp_path: Path) -> None:
    demo = pacs(as_modality(storescp(ae_title="WHYRAY")))
    source = series(tmp_path / "source")
    send_files(source, as_destination(demo), caller=Caller("WHYRAY"))
    study = str(dcmread(source[0], stop_before_pixels=True).StudyInstanceUID)
    assert len(demo.results(study)) == 4
    demo.stop()
    demo.stop()
    with pytest.raises(PeerUnreachable):
        echo(as_destination(demo), Caller())
    demo.start()
    assert uids(demo.results(study)) == uids(source)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[tuple[ArchivePacs, list[Dataset], list[str]]]:
    """An archive with a series, whose WhyRay notes what it is reported and sent."""
    reports: list[Dataset] = []
    received: list[str] = []

    def on_report(event: evt.Event) -> tuple[int, None]:
        reports.append(event.event_information)
        return 0, None

    def on_store(event: evt.Event) -> int:
        received.append(str(event.request.AffectedSOPInstanceUID))
        return 0

    ae = AE("WHYRAY")
    ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    ae.add_supported_context("1.2.840.10008.5.1.4.1.1.2")
    port = free_port()
    handlers = [(evt.EVT_N_EVENT_REPORT, on_report), (evt.EVT_C_STORE, on_store)]
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    made = ArchivePacs(tmp_path / "pacs", dicom_port=free_port(), whyray=Modality("WHYRAY", "127.0.0.1", port))
    made.start()
    yield made, reports, received
    made.stop()
    server.shutdown()


def ask(archive: ArchivePacs, **keys: Any) -> list[Dataset]:
    ae = AE("ASKING")
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
    link = ae.associate(archive.host, archive.dicom_port, ae_title=archive.ae_title)
    query = Dataset()
    for keyword, value in keys.items():
        setattr(query, keyword, value)
    answers = list(link.send_c_find(query, StudyRootQueryRetrieveInformationModelFind))
    link.release()
    assert answers[-1][0].Status == 0
    return [identifier for status, identifier in answers if status.Status == 0xFF00 and identifier is not None]


def test_the_archive_answers_queries_with_the_numbers_that_completion_needs(
    archive: tuple[ArchivePacs, list[Dataset], list[str]], tmp_path: Path
) -> None:
    demo, _, _ = archive
    first, second = series(tmp_path / "1"), series(tmp_path / "2", seed=2)
    demo.store([*first, *second])
    one = dcmread(first[0], stop_before_pixels=True)
    (study,) = ask(
        demo, QueryRetrieveLevel="STUDY", StudyInstanceUID=one.StudyInstanceUID, NumberOfStudyRelatedInstances=""
    )
    assert study.NumberOfStudyRelatedInstances == 4
    (answer,) = ask(
        demo,
        QueryRetrieveLevel="SERIES",
        StudyInstanceUID=one.StudyInstanceUID,
        SeriesInstanceUID=one.SeriesInstanceUID,
        NumberOfSeriesRelatedInstances="",
        Modality="",
    )
    assert (answer.NumberOfSeriesRelatedInstances, answer.Modality) == (4, "CT")
    images = ask(demo, QueryRetrieveLevel="IMAGE", StudyInstanceUID=one.StudyInstanceUID, SOPInstanceUID="")
    assert {str(image.SOPInstanceUID) for image in images} == uids(first)
    assert len(ask(demo, QueryRetrieveLevel="STUDY", PatientID="PHANTOM-*", StudyInstanceUID="")) == 2
    assert ask(demo, QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2.3") == []


def test_the_archive_moves_a_study_to_whyray(
    archive: tuple[ArchivePacs, list[Dataset], list[str]], tmp_path: Path
) -> None:
    demo, _, received = archive
    source = series(tmp_path / "source")
    # as WhyRay's own, so that nothing is routed by itself
    send_files(source, as_destination(demo), caller=Caller("WHYRAY"))
    ae = AE("ASKING")
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelMove)
    link = ae.associate(demo.host, demo.dicom_port, ae_title=demo.ae_title)
    query = Dataset()
    query.QueryRetrieveLevel = "STUDY"
    query.StudyInstanceUID = dcmread(source[0]).StudyInstanceUID
    answers = list(link.send_c_move(query, "WHYRAY", StudyRootQueryRetrieveInformationModelMove))
    link.release()
    assert answers[-1][0].Status == 0
    assert set(received) == uids(source)


def test_the_archive_reports_what_it_keeps_and_what_not(
    archive: tuple[ArchivePacs, list[Dataset], list[str]], tmp_path: Path
) -> None:
    demo, reports, _ = archive
    source = series(tmp_path / "source")
    demo.store(source[:1])
    request = Dataset()
    request.TransactionUID = "1.2.3.9"
    request.ReferencedSOPSequence = []
    for path in source[:2]:
        item = Dataset()
        item.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        item.ReferencedSOPInstanceUID = dcmread(path).SOPInstanceUID
        request.ReferencedSOPSequence.append(item)
    ae = AE("WHYRAY")
    ae.add_requested_context(StorageCommitmentPushModel)
    link = ae.associate(demo.host, demo.dicom_port, ae_title=demo.ae_title)
    answer, _ = link.send_n_action(request, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
    link.release()
    assert answer.Status == 0
    (said,) = until(lambda: reports, what="the report")
    assert said.TransactionUID == "1.2.3.9"
    assert uids(source[:1]) == {str(reference.ReferencedSOPInstanceUID) for reference in said.ReferencedSOPSequence}
    assert uids(source[1:2]) == {str(reference.ReferencedSOPInstanceUID) for reference in said.FailedSOPSequence}


def test_the_demos_studies_are_real_distinct_and_the_same_each_time(tmp_path: Path) -> None:
    scan = Scan(slices=3, size=32)
    first = demo_studies(tmp_path / "1", scan=scan)
    again = demo_studies(tmp_path / "2", scan=scan)
    assert [study.package for study in first] == ["cxr-findings", "cxr-findings", "head-ct-tissue"]
    assert len({study.study_instance_uid for study in first}) == 3
    for study, same in zip(first, again, strict=True):
        assert study.study_instance_uid == same.study_instance_uid
        assert study.kinds == (WITHOUT_STATEMENT if study.name == "leg" else KINDS)
        assert [path.read_bytes() for path in study.paths] == [path.read_bytes() for path in same.paths]
        for path in study.paths:
            data = dcmread(path)
            assert data.StudyInstanceUID == study.study_instance_uid
            assert data.file_meta.MediaStorageSOPInstanceUID == data.SOPInstanceUID
            assert data.pixel_array.std() > 0
    assert dcmread(first[0].paths[0]).BodyPartExamined == "CHEST"
    assert len({dcmread(study.paths[0]).pixel_array.tobytes() for study in first}) == 3
    assert dcmread(first[1].paths[0]).file_meta.TransferSyntaxUID.is_compressed
