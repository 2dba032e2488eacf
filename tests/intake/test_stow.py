"""STOW-RS: what is kept, what is refused with which reason, and who may send."""

from __future__ import annotations

import gzip
import itertools
import random
import socket
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree

import httpx
import pytest
from dicomweb_client.api import DICOMwebClient
from dicomweb_client.web import _load_xml_dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from sqlalchemy import select

from intake.conftest import Running
from intake.scu import digest, encode, small, uid
from intake.test_real_peers import IMAGES, data_set
from intake.web import BOUNDARY, TOKEN, answered, dicomweb, multipart, part10, post, url
from peers import OrthancFactory, until
from whyray.base.errors import ConfigError
from whyray.catalog import Catalog, Instance, Study, api_tokens
from whyray.intake.dicomweb import LOCAL_SENDER
from whyray.intake.multipart import MultipartReader
from whyray.intake.stow import StoreRequest
from whyray.storage import FolderStorage

Listen = Callable[..., Running]


@pytest.fixture
def web(listen: Listen) -> Running:
    """A listener that takes STOW-RS from this machine, without a token."""
    return listen(dicomweb=dicomweb())


def released(running: Running) -> bool:
    with running.catalog.read() as session:
        return all(study.released_at is not None for study in session.scalars(select(Study)))


def test_dicomweb_client_stores_a_series_and_the_study_is_released_at_the_end(listen: Listen) -> None:
    running = listen(dicomweb=dicomweb(PACS=TOKEN))
    base = url(running).removesuffix("/studies")
    client = DICOMwebClient(base, headers={"Authorization": f"Bearer {TOKEN}"})
    images = [dcmread(str(get_testdata_file("CT_small.dcm"))) for _ in range(3)]
    for number, image in enumerate(images):
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = uid("web", number)
    said = client.store_instances(images, study_instance_uid=str(images[0].StudyInstanceUID))
    assert [item.ReferencedSOPInstanceUID for item in said.ReferencedSOPSequence] == [uid("web", n) for n in range(3)]
    assert "FailedSOPSequence" not in said
    assert [(row.sop_instance_uid, row.calling_ae) for row in running.instances()] == [
        (uid("web", n), "PACS") for n in range(3)
    ]
    assert released(running)


def test_the_data_sets_of_real_images_in_eleven_transfer_syntaxes_are_kept_byte_for_byte(web: Running) -> None:
    sources = [Path(str(get_testdata_file(name))) for name in IMAGES]
    response = post(web, multipart(*(source.read_bytes() for source in sources)))
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "application/dicom+json"
    for row, source in zip(web.instances(), sources, strict=True):
        assert data_set(web.storage.root / row.key) == data_set(source), source.name
        kept, original = dcmread(web.storage.root / row.key), dcmread(source)
        assert kept.file_meta.TransferSyntaxUID == original.file_meta.TransferSyntaxUID == row.transfer_syntax_uid
        assert kept.file_meta.SourceApplicationEntityTitle == LOCAL_SENDER


def test_orthanc_sends_a_study_of_compressed_images_by_its_dicomweb_plugin(
    listen: Listen, orthanc: OrthancFactory
) -> None:
    running = listen(dicomweb=dicomweb(ORTHANC=TOKEN))
    server = {
        "Url": url(running).removesuffix("studies"),
        "HttpHeaders": {"Authorization": f"Bearer {TOKEN}"},
        "ChunkedTransfers": True,
    }
    pacs = orthanc(settings={"DicomWeb": {"Enable": True, "Root": "/dicom-web/", "Servers": {"whyray": server}}})
    names = ("CT_small.dcm", "MR_small_jp2klossless.dcm", "MR_small_RLE.dcm", "MR_small_jpeg_ls_lossless.dcm")
    sources = []
    for name in names:  # the MR are one image in several encodings
        image = dcmread(str(get_testdata_file(name)))
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = uid("orthanc", name)
        sources.append(running.storage.root.parent / name)
        image.save_as(sources[-1])
    resources = pacs.upload(sources)
    job = pacs.post("/dicom-web/servers/whyray/stow", {"Resources": resources, "Synchronous": True})
    assert int(job["InstancesCount"]) == len(names), job
    kept = {row.sop_instance_uid: row for row in running.instances()}
    for name, source in zip(names, sources, strict=True):
        row = kept[uid("orthanc", name)]
        assert row.calling_ae == "ORTHANC"
        assert data_set(running.storage.root / row.key) == data_set(source)
    assert released(running)


def test_what_came_by_c_store_is_a_duplicate_by_stow_rs_and_other_bytes_are_kept_apart(web: Running) -> None:
    with web.sender() as sender:
        assert sender.store(encode(small(1)), uid("1", 1)).Status == 0
    assert answered(post(web, multipart(part10(small(1)))))[0] == [uid("1", 1)]
    assert len(web.instances()) == 1
    assert len(web.files()) == 1
    assert post(web, multipart(part10(small(1, pixels=bytes(510) + b"xx")))).status_code == 200
    assert [row.variant for row in web.instances()] == [0, 1]
    assert len(web.events("instance.conflict")) == 1


def test_good_instances_are_kept_and_bad_ones_answered_one_by_one(web: Running) -> None:
    whole = part10(small(2))
    wrong_class = bytearray(part10(small(3)))
    start = wrong_class.index(b"1.2.840.10008.5.1.4.1.1.2")
    wrong_class[start + 24 : start + 25] = b"4"  # in the File Meta Information alone: MR
    bad_syntax = part10(small(4)).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0", 1)
    workitem = part10(small(5, sop_class="1.2.840.10008.5.1.4.34.6.1"))
    response = post(
        web,
        multipart(part10(small(1)), whole[:-100], bytes(wrong_class), bad_syntax, workitem, b"no DICOM", b"", whole),
    )
    stored, failed, other = answered(response)
    assert response.status_code == 202
    assert stored == [uid("1", 1), uid("1", 2)]
    assert failed == {uid("1", 2): 0xC000, uid("1", 3): 0xA900, uid("1", 4): 0xC122, uid("1", 5): 0x0122}
    assert other == [0xC000, 0xC000]
    assert len(web.files()) == 2
    assert {event.kind for event in web.events("intake.syntax")} == {"intake.syntax"}
    assert all("STOW-RS" in event.message for event in web.events("intake.not-understood"))


def test_an_instance_of_another_study_than_the_request_names_is_refused(web: Running) -> None:
    body = multipart(part10(small(1)), part10(small(2, study="2")))
    response = post(web, body, study=uid("1"))
    assert (response.status_code, answered(response)[:2]) == (202, ([uid("1", 1)], {uid("2", 2): 0xA900}))
    alone = post(web, multipart(part10(small(2, study="2"))), study=uid("1"))
    assert (alone.status_code, answered(alone)[0]) == (409, [])
    assert len(web.instances()) == len(web.files()) == 1
    assert post(web, body, study="not-a-uid").status_code == 400


def test_an_instance_that_is_too_large_is_refused_and_the_next_one_kept(listen: Listen) -> None:
    running = listen(dicomweb=dicomweb(), limits={"max_instance_size": 2000})
    large = part10(small(1, pixels=bytes(5000)))
    response = post(running, multipart(large, part10(small(2))))
    assert (response.status_code, answered(response)[:2]) == (202, ([uid("1", 2)], {uid("1", 1): 0xA702}))
    assert post(running, multipart(large)).status_code == 409
    assert len(running.files()) == 1


def test_one_instance_that_declares_to_be_too_large_is_refused_before_it_comes(listen: Listen) -> None:
    running = listen(dicomweb=dicomweb(), limits={"max_instance_size": 1000})
    answer = post(running, bytes(4 << 20), content_type="application/dicom")
    assert answer.status_code == 413
    assert "max_instance_size" in answer.text


@pytest.mark.parametrize("not_one", [".", "..", "1..2", "1.2."])
@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"])
def test_what_is_no_uid_is_refused_at_each_door(web: Running, keyword: str, not_one: str) -> None:
    data = small(1)
    setattr(data, keyword, not_one)
    assert post(web, multipart(part10(data))).status_code == 409
    with web.sender() as sender:
        assert sender.store(encode(data), uid("1", 1)).Status != 0x0000
    assert web.instances() == []


@pytest.mark.parametrize("not_one", ["%2e", "1..2", "1.2."])
def test_what_is_no_uid_is_refused_in_the_path(web: Running, not_one: str) -> None:
    answer = post(web, multipart(part10(small(1))), study=not_one)
    assert answer.status_code in (400, 404, 405)
    assert web.instances() == []


def test_a_full_disk_is_answered_with_later(listen: Listen) -> None:
    running = listen(dicomweb=dicomweb(), limits={"min_free_disk": 1 << 62})
    response = post(running, multipart(part10(small(1))))
    assert (response.status_code, answered(response)[1]) == (503, {uid("1", 1): 0xA700})
    assert int(response.headers["Retry-After"]) > 0
    assert running.files() == []


def test_without_the_right_token_nothing_is_taken(listen: Listen) -> None:
    running = listen(dicomweb=dicomweb(PACS=TOKEN, OTHER="fedcba9876543210-other"))
    body = multipart(part10(small(1)))
    for token in (None, "", TOKEN + "x", TOKEN[:-1], "PACS"):
        response = post(running, body, token=token)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert running.instances() == []
    assert TOKEN not in "".join(event.message for event in running.events("intake.rejected"))
    assert post(running, body, token="fedcba9876543210-other").status_code == 200
    assert running.instances()[0].calling_ae == "OTHER"


def test_an_api_token_with_the_scope_stow_sends_under_its_name_until_it_is_revoked(listen: Listen) -> None:
    running = listen(dicomweb=dicomweb().model_copy(update={"api_tokens": True}))
    body, now = multipart(part10(small(1))), running.catalog.clock()
    with running.catalog.begin() as session:
        ends = now + timedelta(days=1)
        _, sends = api_tokens.add(session, "CT_ROOM_1", ["stow"], ends, now, actor="test")
        row, reads = api_tokens.add(session, "robot", ["read", "steer", "admin"], ends, now, actor="test")
    refused = post(running, body, token=reads)
    assert (refused.status_code, "scope stow" in refused.text) == (403, True)
    assert post(running, body).status_code == 401  # with api_tokens, this machine needs one too
    assert post(running, body, token=sends[:-1] + "-").status_code == 401
    assert not running.instances()
    assert any(f"token robot {row.id}" in event.message for event in running.events("intake.rejected"))
    assert post(running, body, token=sends).status_code == 200
    assert [instance.calling_ae for instance in running.instances()] == ["CT_ROOM_1"]
    with running.catalog.read() as session:
        assert all(token.last_used_at is not None for token in api_tokens.every(session))
    with running.catalog.begin() as session:
        api_tokens.revoke(session, "CT_ROOM_1", now, actor="test")
    assert post(running, body, token=sends).status_code == 401


def test_guessing_tokens_is_braked_and_the_right_one_passes_all_the_same(listen: Listen) -> None:
    running = listen(dicomweb=dicomweb(PACS=TOKEN))
    body = multipart(part10(small(1)))
    answers = [post(running, body, token=f"guess-{number:016}") for number in range(12)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429] * 2
    assert answers[-1].headers["Retry-After"] == "60"
    assert post(running, body, token=TOKEN).status_code == 200


def test_tokens_can_be_replaced_and_stow_rs_taken_away_while_running(listen: Listen) -> None:
    running = listen(dicomweb=dicomweb(PACS=TOKEN))
    body, now = multipart(part10(small(1))), running.scp._listener
    running.scp.update(now.model_copy(update={"dicomweb": dicomweb(PACS="another-token-0123456789")}))
    assert post(running, body, token=TOKEN).status_code == 401
    assert post(running, body, token="another-token-0123456789").status_code == 200
    running.scp.update(now.model_copy(update={"dicomweb": None}))
    assert post(running, body, token=TOKEN).status_code == 403


def test_without_tokens_neither_a_proxy_nor_another_name_of_this_machine_is_let_in(web: Running) -> None:
    body = multipart(part10(small(1)))
    assert post(web, body, **{"X-Forwarded-For": "10.0.0.1"}).status_code == 403
    assert post(web, body, Host="evil.example").status_code == 403
    assert web.instances() == []


def test_a_configuration_that_lets_strangers_in_is_refused() -> None:
    from whyray.config.network import DicomWebListener

    with pytest.raises(ValueError, match="everybody who reaches"):
        DicomWebListener(address="0.0.0.0")
    with pytest.raises(ValueError, match="fewer than 16"):
        dicomweb(PACS="short")


def test_a_port_that_is_taken_is_a_configuration_error_and_leaves_nothing_listening(listen: Listen) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = dicomweb().model_copy(update={"port": taken.getsockname()[1]})
        with pytest.raises(ConfigError, match="can't listen"):
            listen(dicomweb=settings)


@pytest.mark.parametrize(
    ("content_type", "accept", "body", "status"),
    [
        ("application/dicom", "*/*", b"", 400),
        ("application/dicom", "text/html, application/dicom+json;q=0", part10(small(1)), 406),
        ("application/octet-stream", "*/*", part10(small(1)), 415),
        ("", "*/*", part10(small(1)), 415),
        ('multipart/related; type="application/dicom+json"; boundary=x', "*/*", b"--x--", 415),
        ('multipart/related; type="application/dicom"', "*/*", b"--x--", 400),
        ('multipart/related; type="application/dicom"; boundary=x', "application/dicom", b"--x--", 406),
        ('multipart/related; type="application/dicom"; boundary=x', "*/*", b"--x--", 400),
        ('multipart/related; type="application/dicom"; boundary=x', "*/*", b"nothing of the kind", 400),
        ('Multipart/Related; Type="application/dicom"; Boundary="x"', "application/dicom+json", b"--x--", 400),
    ],
)
def test_requests_that_hold_no_instances_are_answered_with_why(
    web: Running, content_type: str, accept: str, body: bytes, status: int
) -> None:
    assert post(web, body, content_type=content_type, Accept=accept).status_code == status


def test_a_body_that_is_one_instance_is_taken(web: Running) -> None:
    response = post(web, part10(small(1)), content_type="application/dicom; transfer-syntax=1.2.840.10008.1.2.1")
    assert (response.status_code, answered(response)) == (200, ([uid("1", 1)], {}, []))
    refused = post(web, part10(small(2))[:-100], content_type="application/dicom")
    assert (refused.status_code, answered(refused)) == (409, ([], {uid("1", 2): 0xC000}, []))
    assert post(web, b"no DICOM", content_type="application/dicom").status_code == 409
    assert [row.sop_instance_uid for row in web.instances()] == [uid("1", 1)]
    assert data_set(web.storage.root / web.instances()[0].key) == encode(small(1))
    assert len(web.files()) == 1
    assert released(web)


def test_the_media_type_of_parts_may_name_a_transfer_syntax(web: Running) -> None:
    parts = f'multipart/related; type="application/dicom; transfer-syntax=1.2.840.10008.1.2.1"; boundary={BOUNDARY}'
    assert post(web, multipart(part10(small(1))), content_type=parts).status_code == 200


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZIP"])
def test_a_gzipped_body_is_kept_as_if_it_had_come_plain(web: Running, coding: str) -> None:
    one, several = gzip.compress(part10(small(1))), multipart(part10(small(2)), part10(small(3)))
    first = post(web, one, content_type="application/dicom", **{"Content-Encoding": coding})
    members = gzip.compress(several[:700]) + gzip.compress(several[700:])
    second = post(web, members, **{"Content-Encoding": coding})
    assert (first.status_code, second.status_code) == (200, 200)
    assert answered(first)[0] + answered(second)[0] == [uid("1", n) for n in (1, 2, 3)]
    for number, row in enumerate(web.instances(), start=1):
        assert data_set(web.storage.root / row.key) == encode(small(number))


@pytest.mark.parametrize("cut", [1, 8, 20, 500])
def test_a_gzipped_body_that_breaks_off_keeps_what_was_whole(web: Running, cut: int) -> None:
    pixels = random.Random(7).randbytes(512)
    body = multipart(part10(small(1)), part10(small(2, pixels=pixels)))
    response = post(web, gzip.compress(body)[:-cut], **{"Content-Encoding": "gzip"})
    assert response.status_code == 202
    assert answered(response)[0][0] == uid("1", 1)
    assert not released(web)
    assert len(web.files()) == len(web.instances())


def test_what_is_not_encoded_as_it_says_is_refused(web: Running) -> None:
    body = multipart(part10(small(1)))
    assert post(web, body, **{"Content-Encoding": "gzip"}).status_code == 400
    other = post(web, body, **{"Content-Encoding": "br"})
    assert (other.status_code, other.headers["Accept-Encoding"]) == (415, "gzip")
    assert web.files() == []


def test_a_gzipped_body_that_swells_is_given_up_without_filling_memory_or_disk(listen: Listen) -> None:
    running = listen(dicomweb=dicomweb(), limits={"max_instance_size": 8 << 20})
    swelling = part10(small(2, pixels=b""))[:-4] + (1 << 30).to_bytes(4, "little")
    encoder = zlib.compressobj(wbits=31)
    body = encoder.compress(multipart(part10(small(1)), swelling, closed=False)[:-2])
    body += b"".join(encoder.compress(bytes(1 << 20)) for _ in range(1 << 10)) + encoder.flush()
    assert len(body) < 2 << 20
    tracemalloc.start()
    response = post(running, body, **{"Content-Encoding": "gzip"})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (response.status_code, answered(response)[:2]) == (202, ([uid("1", 1)], {uid("1", 2): 0xC000}))
    assert peak < 64 << 20
    assert len(running.files()) == 1


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        ("", "application/dicom+json"),
        ("*/*", "application/dicom+json"),
        ("application/dicom+xml", "application/dicom+xml"),
        ("application/*;q=0.5, application/dicom+xml", "application/dicom+xml"),
        ("application/dicom+json;q=0.1, application/dicom+xml;q=0.2", "application/dicom+xml"),
        ("application/dicom+xml;q=0, */*", "application/dicom+json"),
        ("application/dicom+json;q=0, */*", "application/dicom+xml"),
        ("text/html, application/dicom+xml ; Q=0.9", "application/dicom+xml"),
        ("application/json", "application/json"),
        ("application/xml", "application/xml"),
    ],
)
def test_the_answer_is_given_in_the_form_that_is_asked_for(web: Running, accept: str, answer: str) -> None:
    response = post(web, multipart(part10(small(1))), Accept=accept)
    assert (response.status_code, response.headers["Content-Type"].partition(";")[0]) == (200, answer)
    assert len(web.instances()) == 1


def test_a_parameter_asks_for_a_form_where_the_header_can_not(web: Running) -> None:
    sent = {"Content-Type": "application/dicom"}
    where = url(web) + "?accept=application/dicom%2Bxml"
    response = httpx.post(where, content=part10(small(1)), headers=sent, timeout=60)
    assert response.headers["Content-Type"] == "application/dicom+xml"


def test_the_answer_in_xml_says_the_same_as_in_json(web: Running) -> None:
    body = multipart(part10(small(1)), part10(small(2))[:-100], b"no DICOM")
    answers = [post(web, body, Accept=f"application/dicom+{form}") for form in ("json", "xml")]
    in_json = Dataset.from_json(answers[0].text)
    in_xml = _load_xml_dataset(ElementTree.fromstring(answers[1].content))
    assert [answer.status_code for answer in answers] == [202, 202]
    assert in_xml.to_json_dict() == in_json.to_json_dict()
    assert in_json.FailedSOPSequence[0].FailureReason == 0xC000


def test_a_fault_of_ours_is_answered_and_told_without_a_word_of_the_data_set(
    listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    def faulty(header: Dataset) -> bool:
        raise ValueError(f"{header.SOPInstanceUID} of Doe^Jane")

    running = listen(dicomweb=dicomweb(), is_own=faulty)
    named = small(1)
    named.PatientName = "Doe^Jane"
    response = post(running, multipart(part10(named)))
    assert (response.status_code, answered(response)[1]) == (409, {uid("1", 1): 0x0110})
    with running.sender() as sender:
        assert sender.store(encode(named), uid("1", 1)).Status == 0x0110
    assert "ValueError" in caplog.text
    assert len(running.events("intake.fault")) >= 1
    assert "Doe" not in caplog.text + "".join(event.message for event in running.events("intake.fault"))
    assert running.files() == []


def test_nothing_else_is_served(web: Running) -> None:
    assert httpx.get(url(web)).status_code == 405
    assert httpx.get(url(web).replace("studies", "series")).status_code == 404


def test_a_body_that_breaks_off_keeps_what_was_whole_and_does_not_release_the_study(web: Running) -> None:
    body = multipart(part10(small(1)), part10(small(2)))
    response = post(web, body[: len(body) - 300])
    assert (response.status_code, answered(response)[:2]) == (202, ([uid("1", 1)], {uid("1", 2): 0xC000}))
    assert not released(web)
    assert len(web.files()) == 1


def test_a_client_that_goes_away_leaves_whole_instances_and_no_other_file(web: Running) -> None:
    body = multipart(part10(small(1)), part10(small(2)))
    head = (
        f"POST /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        f'Content-Type: multipart/related; type="application/dicom"; boundary={BOUNDARY}\r\n\r\n'
    )
    with socket.create_connection(("127.0.0.1", web.scp.dicomweb_port or 0)) as connection:
        connection.sendall(head.encode() + body[:-300])
        # a file that is given its name while they are listed is listed twice: the first has been entered by now
        until(lambda: len(web.instances()) == 1 and len(web.files()) == 2, what="the second instance on its way")
    until(lambda: len(web.files()) == 1, what="the end of the second instance")
    assert [row.sop_instance_uid for row in web.instances()] == [uid("1", 1)]
    assert not released(web)


def test_a_client_that_stalls_is_given_up(listen: Listen) -> None:
    from datetime import timedelta

    running = listen(dicomweb=dicomweb(), limits={"dimse_timeout": timedelta(seconds=0.3)})
    body = multipart(part10(small(1)))
    head = (
        f"POST /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        f'Content-Type: multipart/related; type="application/dicom"; boundary={BOUNDARY}\r\n\r\n'
    )
    with socket.create_connection(("127.0.0.1", running.scp.dicomweb_port or 0)) as connection:
        connection.settimeout(20)
        connection.sendall(head.encode() + body[:-300])
        assert b"400 Bad Request" in connection.recv(4096)
    assert running.files() == []


def test_more_requests_at_once_than_associations_are_allowed_are_answered_with_later(listen: Listen) -> None:
    running = listen(dicomweb=dicomweb(), limits={"max_associations": 1})
    begun = multipart(part10(small(1)))

    def slowly() -> Iterator[bytes]:
        yield begun[:-300]
        until(lambda: len(running.files()) == 1, what="the first request")
        assert post(running, multipart(part10(small(2)))).status_code == 503
        yield begun[-300:]

    assert post(running, slowly()).status_code == 200
    assert [row.sop_instance_uid for row in running.instances()] == [uid("1", 1)]


def test_an_instance_is_never_whole_in_memory(web: Running, catalog: Catalog, storage: FolderStorage) -> None:
    pixels = 48 << 20
    head = part10(small(1, pixels=b""))
    head = head[:-4] + pixels.to_bytes(4, "little")
    body = itertools.chain((b"--x\r\n\r\n", head), itertools.repeat(bytes(1 << 16), pixels >> 16), (b"\r\n--x--",))
    request = StoreRequest(web.scp._receiver, web.scp._associations.begin, "TESTS")
    reader = MultipartReader("x", request)
    tracemalloc.start()
    for piece in body:
        reader.feed(piece)
    reader.close()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert request.stored == [(small(1).SOPClassUID, uid("1", 1))]
    assert peak < 4 << 20


def test_what_was_refused_does_not_stay_in_memory(web: Running) -> None:
    cut_off = b"--x\r\n\r\n" + part10(small(1, pixels=bytes(60_000)))[:-2] + b"\r\n"
    request = StoreRequest(web.scp._receiver, web.scp._associations.begin, "TESTS")
    reader = MultipartReader("x", request)
    tracemalloc.start()
    for _ in range(300):
        reader.feed(cut_off)
    reader.feed(b"--x--")
    reader.close()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [failure.status for *_, failure in request.failed] == [0xC000] * 300
    assert peak < 4 << 20


def test_what_differs_from_the_path_is_told_in_the_words_of_a_request(web: Running) -> None:
    post(web, multipart(part10(small(2, study="2"))), study=uid("1"))
    (event,) = web.events("intake.mismatch")
    assert f"the request names Study Instance UID {uid('1')}, the data set {uid('2')}" in event.message


parts = st.tuples(
    st.integers(0, 4),  # which instance
    st.sampled_from(["whole", "other bytes", "truncated", "no file", "another study"]),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=st.lists(st.lists(parts, min_size=1, max_size=4), min_size=1, max_size=3), cut=st.integers(0, 1500))
def test_what_is_acknowledged_is_in_catalog_and_storage_and_nothing_else_is(
    web: Running, requests: list[list[tuple[int, str]]], cut: int
) -> None:
    for request in requests:
        files = [_made(number, how) for number, how in request]
        body = multipart(*files)
        response = post(web, body[: len(body) - cut], study=uid("p"))
        if response.status_code in (200, 202, 409):
            stored, failed, other = answered(response)
            sent = {(uid("p", number), digest(_data_set(number, how))) for number, how in request}
            with web.catalog.read() as session:
                for sop_instance_uid in stored:
                    rows = session.scalars(select(Instance).where(Instance.sop_instance_uid == sop_instance_uid))
                    assert any((row.sop_instance_uid, row.sha256) in sent for row in rows)
            assert len(stored) + len(failed) + len(other) <= len(files) + 1
    rows = web.instances()
    assert len(rows) == len(web.files())
    for row in rows:
        assert digest(data_set(web.storage.root / row.key)) == row.sha256


def _instance(number: int, how: str) -> object:
    made = small(number, study="p", pixels=b"\1" * 512 if how == "other bytes" else bytes(512))
    if how == "another study":
        made.StudyInstanceUID = uid("q")
    return made


def _data_set(number: int, how: str) -> bytes:
    return encode(_instance(number, how))  # type: ignore[arg-type]


def _made(number: int, how: str) -> bytes:
    if how == "no file":
        return b"nothing to see"
    whole = part10(_instance(number, how))
    return whole[:-10] if how == "truncated" else whole
