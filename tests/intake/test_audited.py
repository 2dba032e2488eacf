"""What comes in is audited: one message as a study begins to come, one as its association or request ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydicom import Dataset

from audit.trail import in_short, trail
from intake.conftest import Running
from intake.scu import NoAssociationError, Sender, encode, small
from intake.web import dicomweb, multipart, part10, post_to
from peers import until
from whyray.catalog import Study
from whyray.config import Peer

Listen = Callable[..., Running]


def of_patient(number: int, study: str, patient: str = "4711") -> Dataset:
    instance = small(number, study=study)
    instance.PatientID = patient
    return instance


def ended(running: Running, count: int) -> list[tuple[str, int, str]]:
    until(lambda: len(trail(running.catalog)) >= count)
    return in_short(trail(running.catalog))


def test_each_study_of_an_association_has_a_beginning_and_an_end(listen: Listen) -> None:
    running = listen()
    instances = [of_patient(1, "a"), of_patient(2, "a"), of_patient(3, "b", "4712")]
    with running.sender(calling="CT_1") as sender:
        for instance in instances:
            assert sender.store(encode(instance), instance.SOPInstanceUID).Status == 0
        assert in_short(trail(running.catalog)) == [("transfer.begin", 0, "CT_1")] * 2
    assert ended(running, 4) == [("transfer.begin", 0, "CT_1")] * 2 + [("transfer", 0, "CT_1")] * 2
    told = [
        (event.studies[0].uid, sum(event.studies[0].instances.values()), event.patient)
        for event in trail(running.catalog)
    ]
    a, b = instances[0].StudyInstanceUID, instances[2].StudyInstanceUID
    assert told == [(a, 1, "4711"), (b, 1, "4712"), (a, 2, "4711"), (b, 1, "4712")]
    source, here = trail(running.catalog)[0].participants
    assert (source.ae_title, source.address, here.ae_title) == ("CT_1", "127.0.0.1", "WHYRAY")


def test_the_end_of_an_association_is_noted_and_audited_together_or_audited_alone(listen: Listen) -> None:
    running = listen()
    one = of_patient(1, "a")
    with running.sender() as sender:
        assert sender.store(encode(one), one.SOPInstanceUID).Status == 0
        with running.catalog.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE studies RENAME COLUMN released_at TO gone")
    assert ended(running, 2) == [("transfer.begin", 0, "SENDER"), ("transfer", 0, "SENDER")]
    with running.catalog.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE studies RENAME COLUMN gone TO released_at")
    two = of_patient(2, "a")
    with running.sender() as sender:
        assert sender.store(encode(two), two.SOPInstanceUID).Status == 0
        sender.association.release()
        until(lambda: running.scp.associations == 0)
    assert [kind for kind, _, _ in ended(running, 4)] == ["transfer.begin", "transfer"] * 2
    with running.catalog.read() as session:
        assert session.query(Study).one().released_at is not None


def test_what_was_refused_has_a_message_of_its_own_and_a_broken_association_is_told(listen: Listen) -> None:
    running = listen()
    good, bad = of_patient(1, "a"), of_patient(2, "a")
    sender = Sender(running.port)
    assert sender.store(encode(good), good.SOPInstanceUID).Status == 0
    assert sender.store(encode(bad), good.SOPInstanceUID).Status != 0
    sender.association.abort()
    assert ended(running, 3) == [("transfer.begin", 0, "SENDER"), ("transfer", 4, "SENDER"), ("transfer", 4, "SENDER")]
    broken, refused = trail(running.catalog)[1:]
    assert ("aborted" in broken.words, refused.words) == (True, "refused by WhyRay")


def test_a_request_by_stow_is_audited_alike_and_who_is_turned_away_is_an_alert(listen: Listen) -> None:
    running = listen(dicomweb=dicomweb(), peers={"CT_1": Peer(address="10.9.9.9")})
    instances = [of_patient(number, "a") for number in range(2)]
    answer = post_to(running.scp.dicomweb_port, multipart(*(part10(instance) for instance in instances)))
    assert answer.status_code == 200
    assert [event[:2] for event in ended(running, 2)] == [("transfer.begin", 0), ("transfer", 0)]
    with pytest.raises(NoAssociationError):
        running.sender(calling="STRANGER")
    assert ended(running, 3)[2][:2] == ("network-alert", 4)
