"""C-STORE: what is kept, how it is kept, and what is refused with which status."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Callable
from io import BytesIO
from typing import BinaryIO

import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    MRImageStorage,
)
from pynetdicom import AE, evt
from sqlalchemy import select

from catalog.rows import result_row
from intake.conftest import Running
from intake.scu import NoAssociationError, Sender, digest, encode, small, uid
from peers import until
from whyray.catalog import Catalog, Instance, Study, studies
from whyray.intake.incoming_instance import IncomingInstance
from whyray.routing import is_own_result
from whyray.storage import FolderStorage

Listen = Callable[..., Running]
PRIVATE_CLASS = "1.2.840.113619.4.30"
NEWER_THAN_THIS_TABLE = "1.2.840.10008.5.1.4.1.1.9999.1"


def _stored_data_set(running: Running, number: int = 0) -> bytes:
    path = running.storage.root / running.instances()[number].key
    file = BytesIO(path.read_bytes())
    meta = dcmread(file, specific_tags=[]).file_meta
    return file.getvalue()[128 + 4 + 12 + meta.FileMetaInformationGroupLength :]


@pytest.mark.parametrize(
    "transfer_syntax",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
)
def test_an_instance_is_kept_byte_for_byte_in_the_transfer_syntax_it_came_in(
    listen: Listen, transfer_syntax: str
) -> None:
    running = listen()
    data = encode(small(1), transfer_syntax)
    with running.sender(contexts=((CTImageStorage, (transfer_syntax,)),)) as sender:
        assert sender.store(data, uid("1", 1)).Status == 0
    assert _stored_data_set(running) == data
    row = running.instances()[0]
    assert (row.sha256, row.transfer_syntax_uid) == (digest(data), transfer_syntax)
    assert row.size == (running.storage.root / row.key).stat().st_size
    kept = dcmread(running.storage.root / row.key)
    assert kept.file_meta.TransferSyntaxUID == transfer_syntax
    assert kept.file_meta.SourceApplicationEntityTitle == "SENDER"
    assert kept.StudyInstanceUID == small(1).StudyInstanceUID


def test_encapsulated_fragments_of_undefined_length_are_kept_byte_for_byte(listen: Listen) -> None:
    running = listen()
    instance = small(1)
    del instance.PixelData
    data = encode(instance) + b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff"
    data += encapsulate([b"\xff\x4f\xff\x51" * 5000, b"\xff\x4f" * 33]) + b"\xfe\xff\xdd\xe0\0\0\0\0"
    with running.sender(contexts=((CTImageStorage, (JPEG2000Lossless,)),)) as sender:
        assert sender.store(data, uid("1", 1)).Status == 0
    assert _stored_data_set(running) == data


@pytest.mark.parametrize("sop_class", [PRIVATE_CLASS, NEWER_THAN_THIS_TABLE])
def test_an_instance_of_a_storage_class_that_nobody_knows_is_kept(listen: Listen, sop_class: str) -> None:
    running = listen()
    with running.sender(contexts=((sop_class, (ExplicitVRLittleEndian,)),)) as sender:
        assert sender.store(encode(small(1, sop_class=sop_class)), uid("1", 1), sop_class).Status == 0
    assert running.instances()[0].sop_class_uid == sop_class


def test_the_senders_order_of_transfer_syntaxes_decides_so_that_it_sends_what_it_has(listen: Listen) -> None:
    running = listen()
    syntaxes = (JPEG2000Lossless, ExplicitVRLittleEndian, ImplicitVRLittleEndian)
    with running.sender(contexts=((CTImageStorage, syntaxes), (MRImageStorage, syntaxes[::-1]))) as sender:
        assert sender.accepted() == {CTImageStorage: [JPEG2000Lossless], MRImageStorage: [ImplicitVRLittleEndian]}


def test_services_that_are_not_offered_and_transfer_syntaxes_that_are_not_known_are_not_accepted(
    listen: Listen,
) -> None:
    running = listen()
    worklist, protocol = "1.2.840.10008.5.1.4.31", "1.2.840.10008.5.1.4.38.1"
    contexts = (
        (worklist, (ExplicitVRLittleEndian,)),
        (protocol, (ExplicitVRLittleEndian,)),
        (CTImageStorage, ("1.2.840.113619.5.2.99",)),
        (MRImageStorage, (ExplicitVRLittleEndian,)),
    )
    with running.sender(contexts=contexts) as sender:
        assert list(sender.accepted()) == [MRImageStorage]


def test_names_in_other_scripts_are_kept_and_appear_in_no_log(listen: Listen, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    running = listen()
    names = {"ISO_IR 192": "Yamada^Tarou=山田^太郎", "ISO_IR 144": "Люкceмбypг"}
    with running.sender() as sender:
        for number, (character_set, name) in enumerate(names.items()):
            instance = small(number)
            instance.SpecificCharacterSet, instance.PatientName = character_set, name
            assert sender.store(encode(instance), instance.SOPInstanceUID).Status == 0
            wrong = small(number)
            wrong.SpecificCharacterSet, wrong.PatientName = character_set, name
            assert sender.store(encode(wrong)[:-2], instance.SOPInstanceUID).Status == 0xC000
    kept = [dcmread(running.storage.root / instance.key) for instance in running.instances()]
    assert [str(dataset.PatientName) for dataset in kept] == list(names.values())
    logged = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("whyray"))
    assert "refused" in logged
    assert not any(part in logged for part in ("Yamada", "山田", "Люк"))


def test_the_same_instance_again_is_a_success_and_nothing_new(listen: Listen) -> None:
    running = listen()
    data = encode(small(1))
    with running.sender() as sender:
        assert [sender.store(data, uid("1", 1)).Status for _ in range(3)] == [0, 0, 0]
    assert len(running.instances()) == 1
    assert len(running.files()) == 1
    assert _stored_data_set(running) == data


def test_other_bytes_under_the_same_uid_are_kept_apart_and_an_event_is_raised(listen: Listen) -> None:
    running = listen()
    first, other = encode(small(1)), encode(small(1, pixels=b"\1" * 512))
    with running.sender() as sender:
        assert sender.store(first, uid("1", 1)).Status == 0
        assert sender.store(other, uid("1", 1)).Status == 0
    assert [(instance.variant, instance.sha256) for instance in running.instances()] == [
        (0, digest(first)),
        (1, digest(other)),
    ]
    assert [_stored_data_set(running, number) for number in (0, 1)] == [first, other]
    assert len(running.events("instance.conflict")) == 1


def test_own_results_are_stored_and_marked_and_do_not_wake_the_study(listen: Listen, catalog: Catalog) -> None:
    def made_here(header: Dataset) -> bool:
        items = header.get("ContributingEquipmentSequence") or []
        return any(item.get("Manufacturer") == "WhyRay" for item in items)

    running = listen(is_own=made_here)
    own, foreign = small(1), small(2)
    equipment = Dataset()
    equipment.Manufacturer, equipment.InstitutionName = "WhyRay", "Somewhere"
    own.ContributingEquipmentSequence = [equipment]
    with running.sender() as sender:
        assert sender.store(encode(own), own.SOPInstanceUID).Status == 0
    with catalog.read() as session:
        study = session.query(Study).one()
        assert (study.received_sequence, study.released_at) == (0, None)
    with running.sender() as sender:
        assert sender.store(encode(foreign), foreign.SOPInstanceUID).Status == 0
    assert [instance.own_result for instance in running.instances()] == [True, False]


def test_a_result_that_came_back_without_whyrays_name_is_known_by_the_catalog(listen: Listen, catalog: Catalog) -> None:
    running = listen()
    with catalog.begin() as session:
        result_row(session, uid("1", 2))
    with running.sender() as sender:
        assert sender.store(encode(small(2)), uid("1", 2)).Status == 0
    with catalog.read() as session:
        study = session.query(Study).filter_by(study_instance_uid=uid("1")).one()
        assert (study.received_sequence, study.released_at) == (0, None)
    with running.sender() as sender:
        assert [sender.store(encode(small(number)), uid("1", number)).Status for number in (1, 2, 3)] == [0, 0, 0]
    with catalog.read() as session:
        rows = session.execute(select(Instance.sop_instance_uid, Instance.own_result))
        assert {one: own for one, own in rows if own} == {uid("1", 2): True}
        assert session.query(Study).filter_by(study_instance_uid=uid("1")).one().received_sequence == 2


def test_the_end_of_an_association_is_noted_for_the_studies_it_brought(listen: Listen, catalog: Catalog) -> None:
    running = listen()

    def released() -> dict[str, bool]:
        with catalog.read() as session:
            return {study.study_instance_uid: study.released_at is not None for study in session.query(Study)}

    with running.sender() as first, running.sender() as second:
        assert first.store(encode(small(1, study="a")), uid("a", 1)).Status == 0
        assert second.store(encode(small(1, study="b")), uid("b", 1)).Status == 0
        assert released() == {uid("a"): False, uid("b"): False}
        first.association.release()
        until(lambda: released() == {uid("a"): True, uid("b"): False})
        second.association.abort()
    until(lambda: running.scp.associations == 0)
    assert released() == {uid("a"): True, uid("b"): False}


def _without(keyword: str) -> bytes:
    instance = small(1)
    del instance[keyword]
    return encode(instance)


def _with(**values: str) -> bytes:
    instance = small(1)
    for keyword, value in values.items():
        setattr(instance, keyword, value)
    return encode(instance)


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"", 0xC000, "no data set"),
        (encode(small(1))[:-2], 0xC000, "truncated"),
        (encode(small(1))[:-300], 0xC000, "truncated"),
        (encode(small(1))[:20], 0xC000, "truncated"),
        (b"\x08\x00", 0xC000, "truncated: 2 bytes"),
        (b"this is no data set at all, but a text of some length", 0xC000, "Cannot understand"),
        (_without("StudyInstanceUID"), 0xC000, "StudyInstanceUID is missing"),
        (_without("SeriesInstanceUID"), 0xC000, "SeriesInstanceUID is missing"),
        (_without("SOPInstanceUID"), 0xC000, "SOPInstanceUID is missing"),
        (_without("SOPClassUID"), 0xC000, "SOPClassUID is missing"),
        (_with(StudyInstanceUID=""), 0xC000, "StudyInstanceUID is missing"),
        (_with(StudyInstanceUID="1." + "2" * 70), 0xC000, "StudyInstanceUID is not a UID"),
        (_with(SeriesInstanceUID="not a uid"), 0xC000, "SeriesInstanceUID is not a UID"),
        (_with(SOPInstanceUID="1.2.3"), 0xA900, "SOP Instance UID differs"),
        (_with(SOPClassUID=MRImageStorage), 0xA900, "SOP Class UID differs"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_cannot_be_understood_is_refused_with_its_status_an_event_and_no_trace_on_disk(
    listen: Listen, data: bytes, status: int, words: str
) -> None:
    running = listen()
    with running.sender() as sender:
        response = sender.store(data, uid("1", 1))
        assert response.Status == status
        assert words in response.ErrorComment
        assert sender.store(encode(small(2)), uid("1", 2)).Status == 0, "the association survives a refusal"
    assert [instance.sop_instance_uid for instance in running.instances()] == [uid("1", 2)]
    assert len(running.files()) == 1
    kind = "intake.mismatch" if status == 0xA900 else "intake.not-understood"
    assert [event.severity for event in running.events(kind)] == ["warning"]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_truncated_compressed_instance_is_refused(listen: Listen) -> None:
    running = listen()
    instance = small(1)
    del instance.PixelData
    whole = encode(instance) + b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + encapsulate([b"\xff\x4f" * 500])
    deflated = encode(small(1), DeflatedExplicitVRLittleEndian)
    contexts = ((CTImageStorage, (JPEG2000Lossless,)), (CTImageStorage, (DeflatedExplicitVRLittleEndian,)))
    with running.sender(contexts=contexts) as sender:
        for data, syntax in ((whole, JPEG2000Lossless), (deflated[:-40], DeflatedExplicitVRLittleEndian)):
            assert sender.store(data, uid("1", 1), transfer_syntax=syntax).Status == 0xC000
    assert running.files() == []


def test_a_full_disk_is_answered_with_a700_and_survived(
    listen: Listen, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = listen(limits={"min_free_disk": 1 << 62})
    with running.sender() as sender:
        response = sender.store(encode(small(1)), uid("1", 1))
        assert (response.Status, response.ErrorComment) == (0xA700, "Out of resources: disk space low")
        assert [event.severity for event in running.events("intake.disk-low")] == ["error"]
        running.scp.update(running.scp._listener.model_copy(update={"limits": listen(limits={}).scp._listener.limits}))
        assert sender.store(encode(small(1)), uid("1", 1)).Status == 0


@pytest.mark.parametrize("shortage", [errno.EMFILE, errno.ENOMEM, errno.EIO])
def test_a_shortage_while_an_instance_is_looked_at_is_not_the_senders_fault(
    listen: Listen, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch, shortage: int
) -> None:
    def short_of(_: IncomingInstance) -> BinaryIO:
        raise OSError(shortage, os.strerror(shortage))

    running = listen()
    image = small(1)
    # what stands behind so long an element is not in memory any more, and looked for in the file
    block = image.private_block(0x0011, "WHYRAY TESTS", create=True)
    block.add_new(1, "OB", bytes(300_000))
    large = encode(image)
    with running.sender() as sender:
        with monkeypatch.context() as patched:
            patched.setattr(IncomingInstance, "open", short_of)
            assert sender.store(large, uid("1", 1)).Status == 0xA700
        assert running.files() == []
        assert sender.store(large, uid("1", 1)).Status == 0


def test_an_instance_above_the_largest_size_is_refused_without_being_kept(listen: Listen) -> None:
    running = listen(limits={"max_instance_size": 1000})
    with running.sender() as sender:
        assert sender.store(encode(small(1, pixels=bytes(2000))), uid("1", 1)).Status == 0xA702
        assert sender.store(encode(small(2, pixels=bytes(200))), uid("1", 2)).Status == 0
    assert len(running.files()) == 1


def test_while_the_catalog_is_down_nothing_is_acknowledged_and_after_it_all_is_well(
    listen: Listen, catalog: Catalog
) -> None:
    running = listen()
    with running.sender() as sender:
        with catalog.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE instances RENAME TO gone")
        response = sender.store(encode(small(1)), uid("1", 1))
        assert (response.Status, response.ErrorComment) == (0xA701, "Out of resources: catalog not available")
        with catalog.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE gone RENAME TO instances")
        assert sender.store(encode(small(1)), uid("1", 1)).Status == 0
    assert len(running.instances()) == 1


@pytest.mark.parametrize("asks_itself", [True, False], ids=["asked by the loop guard", "asked as it is entered"])
def test_while_the_catalog_can_not_say_what_is_whyrays_own_the_peer_is_told_to_come_again(
    listen: Listen, catalog: Catalog, *, asks_itself: bool
) -> None:
    def is_own(header: Dataset) -> bool:
        return is_own_result(header, None, lambda uid: asks_itself and studies.is_own(catalog, uid)) is not None

    running = listen(is_own=is_own)
    with running.sender() as sender:
        with catalog.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE results RENAME TO gone")
        assert sender.store(encode(small(1)), uid("1", 1)).Status == 0xA701
        with catalog.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE gone RENAME TO results")
        assert sender.store(encode(small(1)), uid("1", 1)).Status == 0
    assert len(running.events("intake.catalog-down")) == 1
    assert running.events("intake.fault") == []


def test_a_flood_of_the_same_refusal_makes_one_event(listen: Listen) -> None:
    running = listen()
    with running.sender() as sender:
        assert {sender.store(b"nonsense" * 5, uid("1", 1)).Status for _ in range(20)} == {0xC000}
    assert len(running.events("intake.not-understood")) == 1


def test_several_associations_at_once_bring_everything_once(listen: Listen) -> None:
    running = listen()
    problems: list[object] = []

    def send(name: str) -> None:
        try:
            with Sender(running.port, calling=name) as sender:
                for number in range(25):
                    study = f"shared{number % 3}"
                    instance = small(number, study=study)
                    status = sender.store(encode(instance), instance.SOPInstanceUID).Status
                    if status:
                        problems.append(status)
        except (NoAssociationError, AssertionError) as error:
            problems.append(error)

    threads = [threading.Thread(target=send, args=(f"MODALITY{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len({instance.sop_instance_uid for instance in running.instances()}) == len(running.instances()) == 25
    assert len(running.files()) == 25
    assert running.events("instance.conflict") == []


def test_another_scp_in_the_same_process_still_gets_data_sets_in_its_own_way(listen: Listen) -> None:
    received: list[str] = []

    def keep(event: evt.Event) -> int:
        received.append(event.dataset.PatientName)
        return 0

    listen()
    archive = AE("ARCHIVE")
    archive.add_supported_context(CTImageStorage, ExplicitVRLittleEndian)
    server = archive.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    with Sender(server.server_address[1], called="ARCHIVE") as sender:
        assert sender.store(encode(small(1)), uid("1", 1)).Status == 0
    server.shutdown()
    assert received == ["Nobody^Known"]
