"""Headers are read at the door and kept in the catalog: routing asks these, and gets what the file would say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import CTImageStorage
from sqlalchemy import delete, select

from intake.conftest import Running
from intake.scu import encode, small, uid
from whyray.app.context import Context
from whyray.catalog import Series, headers
from whyray.catalog.tables import KeptHeader
from whyray.routing import read_header

SYNTAXES = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"]

Listen = Callable[..., Running]


def context_of(running: Running) -> Context:
    return Context(Path("whyray.yaml"), None, running.catalog, running.storage)  # type: ignore[arg-type]


def rows(running: Running) -> list[KeptHeader]:
    with running.catalog.read() as session:
        return list(session.scalars(select(KeptHeader)))


def detailed(number: int, *, private: int = 8) -> Dataset:
    data = small(number, pixels=b"pixels" * 100)
    data.SpecificCharacterSet = "ISO_IR 192"
    data.PatientName = "Müller^Jörg"
    data.StudyDescription = "Thorax"
    data.ReferencedImageSequence = [Dataset()]
    data.ReferencedImageSequence[0].ReferencedSOPInstanceUID = uid("another")
    data.private_block(0x0029, "A MAKER", create=True).add_new(0x01, "OB", b"1" * private)
    return data


def sent(running: Running, *instances: Dataset, syntax: str = SYNTAXES[0]) -> None:
    with running.sender(contexts=((CTImageStorage, (syntax,)),)) as sender:
        for data in instances:
            assert sender.store(encode(data, syntax), data.SOPInstanceUID).Status == 0x0000


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_routing_gets_from_the_catalog_what_the_file_says_though_the_file_is_gone(listen: Listen, syntax: str) -> None:
    running = listen()
    sent(running, detailed(1), detailed(2), syntax=syntax)
    first, second = running.instances()
    with running.storage.open(first.key) as file:
        said = read_header(file)
    assert len(rows(running)) == 1, "one for each series"
    running.storage.delete(first.key)
    kept = context_of(running).read_header(first.key)
    assert kept == said
    assert getattr(kept, "file_meta", None) == getattr(said, "file_meta", None)
    assert str(kept.PatientName) == "Müller^Jörg"
    assert "PixelData" not in kept
    assert context_of(running).read_header(second.key).InstanceNumber == 2


def test_the_file_of_an_instance_that_came_before_headers_were_kept_is_read_once(listen: Listen) -> None:
    running = listen()
    sent(running, detailed(1))
    with running.catalog.begin() as session:
        session.execute(delete(KeptHeader))
    (instance,) = running.instances()
    said = context_of(running).read_header(instance.key)
    running.storage.delete(instance.key)
    assert context_of(running).read_header(instance.key) == said
    assert len(rows(running)) == 1


def test_a_header_that_is_too_large_is_not_kept_and_is_read_from_its_file(listen: Listen) -> None:
    running = listen()
    sent(running, detailed(1, private=headers.LARGEST))
    (instance,) = running.instances()
    assert context_of(running).read_header(instance.key).StudyDescription == "Thorax"
    assert rows(running) == []


def test_a_header_goes_with_its_instance(listen: Listen) -> None:
    running = listen()
    sent(running, detailed(1))
    with running.catalog.begin() as session:
        session.execute(delete(Series))
    assert rows(running) == []
