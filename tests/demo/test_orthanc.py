"""Orthanc as a process: it starts, keeps what it was given over a restart, and the other shared peers answer."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from peers import Modality, OrthancFactory, OrthancServer, RedisServer, StoreScpFactory, echoes, until
from whyray.base.errors import PeerUnreachable


def test_orthanc_keeps_its_studies_over_a_restart(orthanc: OrthancFactory) -> None:
    server = orthanc(ae_title="KEEPER", modalities={"OTHER": Modality("OTHER", "127.0.0.1", 11199)})
    server.upload([Path(str(get_testdata_file("CT_small.dcm")))])
    held = server.instances()
    assert server._process is not None
    assert os.getpgid(server._process.pid) != os.getpgid(0), "Ctrl-C would end it before those who use it"
    server.stop()
    server.start()
    assert server.instances() == held
    assert len(held) == 1
    assert server.get("/modalities") == ["OTHER"]
    assert echoes(server.dicom_port, "KEEPER")
    assert server.get("/dicom-web/studies")


def test_orthanc_that_cannot_bind_its_port_is_reported_with_its_own_words(orthanc: OrthancFactory) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(PeerUnreachable, match="did not start"):
            orthanc(dicom_port=taken.getsockname()[1])


def test_two_storescp_answer_under_their_own_titles(storescp: StoreScpFactory) -> None:
    one, two = storescp(ae_title="ONE"), storescp(ae_title="TWO")
    assert echoes(one.port, "ONE")
    assert echoes(two.port, "TWO")
    assert one.files() == {}


def test_the_shared_redis_and_orthanc_answer(shared_redis: RedisServer, shared_orthanc: OrthancServer) -> None:
    redis = pytest.importorskip("redis")
    assert redis.Redis.from_url(shared_redis.url).ping()
    assert redis.Redis(unix_socket_path=shared_redis.socket_url.removeprefix("redis+socket://")).ping()
    assert until(lambda: shared_orthanc.get("/system")["DicomAet"]) == "SHARED"
