"""WhyRay's own worklist by UPS-RS: what requesters and performers may do, and what they are told."""

from __future__ import annotations

import json
import logging
from urllib.parse import urlencode

import httpx
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.uid import generate_uid

from site_under_test import Site
from whyray.catalog import Catalog, sqlite_url, workitems
from worklist.conftest import PATIENT, TOKEN, Served, code, film, workitem

_AS_JSON = {"Content-Type": "application/dicom+json"}


def finished(uid: str, *, completed: bool) -> Dataset:
    """What a performer tells before it closes a workitem."""
    item, made = Dataset(), Dataset()
    if completed:
        item.PerformedStationNameCodeSequence = [code("AI-1", "99SITE")]
        item.PerformedProcedureStepStartDateTime = item.PerformedProcedureStepEndDateTime = "20261101120100"
        item.PerformedWorkitemCodeSequence = [code()]
        item.OutputInformationSequence = []
        made.UnifiedProcedureStepPerformedProcedureSequence = [item]
    else:
        item.ProcedureStepCancellationDateTime = "20261101120100"
        item.ProcedureStepDiscontinuationReasonCodeSequence = [code("110513", "DCM")]
        made.ProcedureStepProgressInformationSequence = [item]
    return made


def test_a_workitem_is_created_found_and_retrieved_as_it_was_sent(served: Served) -> None:
    sent = workitem(film())
    uid = served.create(sent)
    got = served.retrieve(uid)
    for keyword in ("ScheduledWorkitemCodeSequence", "InputInformationSequence", "PatientName", "ProcedureStepLabel"):
        assert got[keyword] == sent[keyword]
    assert got.ProcedureStepState == "SCHEDULED"
    assert got.SOPClassUID == "1.2.840.10008.5.1.4.34.6.1"
    assert got.ScheduledProcedureStepModificationDateTime
    assert "TransactionUID" not in got


def test_a_uid_may_come_in_the_address_in_every_spelling_of_the_standard(served: Served) -> None:
    for spelling in ("workitem={}", "AffectedSOPInstanceUID={}", "{}"):
        uid = generate_uid(prefix=None)
        answer = served.send("POST", "/workitems?" + spelling.format(uid), workitem(film(), uid=uid))
        assert answer.status_code == 201
        assert served.state(uid) == "SCHEDULED"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"InputReadinessState": None}, "InputReadinessState"),
        ({"ProcedureStepLabel": None}, "ProcedureStepLabel"),
        ({"ScheduledProcedureStepPriority": "NOW"}, "HIGH, MEDIUM, LOW"),
        ({"ProcedureStepState": "IN PROGRESS"}, "SCHEDULED"),
        ({"TransactionUID": "1.2.3"}, "Transaction UID"),
    ],
)
def test_what_can_not_be_a_new_workitem_is_refused_with_the_reason(served: Served, change: dict, words: str) -> None:
    answer = served.send("POST", "/workitems", workitem(film(), **change))
    assert answer.status_code == 400
    assert words in answer.text
    assert words in answer.headers["Warning"]


def test_bodies_that_are_no_workitem_are_refused_without_quoting_them(served: Served) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/dicom+json"}
    for body in (b"", b"Doe^Secret", b"[]", b"[{}, {}]", b'{"00100010": {"vr": "PN", "Value": [{"Alphabetic": 7}]}}'):
        answer = httpx.post(f"{served.url}/workitems", content=body, headers=headers)
        assert answer.status_code == 400
        assert "Doe" not in answer.text
    wrong = httpx.post(f"{served.url}/workitems", content=b"<a/>", headers={**headers, "Content-Type": "text/xml"})
    assert wrong.status_code == 400
    large = httpx.post(f"{served.url}/workitems", content=b" " * ((4 << 20) + 1), headers=headers)
    assert large.status_code == 413


@pytest.mark.parametrize("keyword", ["InputInformationSequence", "ScheduledWorkitemCodeSequence", "ProcedureStepLabel"])
def test_a_sequence_that_is_none_and_what_is_none_but_comes_as_one_are_refused(served: Served, keyword: str) -> None:
    made = workitem(film())
    said = made.to_json_dict()
    tag = f"{tag_for_keyword(keyword):08X}"
    odd = {"vr": "LO", "Value": ["odd"]} if keyword.endswith("Sequence") else {"vr": "SQ", "Value": [{}]}
    answer = served.send("POST", "/workitems", json=[said | {tag: odd}], headers_more=_AS_JSON)
    assert (answer.status_code, keyword in answer.text) == (400, True)
    uid = served.create(made)
    changed = served.send("POST", f"/workitems/{uid}", json=[{tag: odd}], headers_more=_AS_JSON)
    assert changed.status_code == 400
    assert served.retrieve(uid).get(keyword) == made.get(keyword)


@pytest.mark.parametrize(
    "odd",
    [
        {"vr": "OB", "Value": ["odd"]},
        {"vr": "PN", "InlineBinary": "x"},
        {"vr": "US", "InlineBinary": "eHh4"},
        {"vr": "FD", "Value": [float("inf")]},
    ],
)
def test_values_that_could_not_be_given_back_are_refused(served: Served, odd: dict[str, object]) -> None:
    said = workitem(film()).to_json_dict()
    body = json.dumps([said | {"00091010": odd}])
    answer = served.send("POST", "/workitems", content=body, headers_more=_AS_JSON)
    assert (answer.status_code, answer.text.startswith("the body is not DICOM JSON")) == (400, True)


def test_a_code_that_is_too_long_for_the_catalog_is_refused(served: Served) -> None:
    long = code("x" * 16)
    del long.CodeValue
    long.LongCodeValue = "x" * 200
    answer = served.send("POST", "/workitems", workitem(film(), ScheduledWorkitemCodeSequence=[long]))
    assert (answer.status_code, "128" in answer.text) == (400, True)


def test_the_same_uid_twice_is_a_conflict_and_changes_nothing(served: Served) -> None:
    uid = served.create(workitem(film()))
    again = served.send("POST", "/workitems", workitem(film(), uid=uid, ProcedureStepLabel="another"))
    assert again.status_code == 409
    assert served.retrieve(uid).ProcedureStepLabel == "Films by AI"


def test_who_has_no_token_sees_and_changes_nothing(served: Served) -> None:
    uid = served.create(workitem(film()))
    for method, path in (("GET", "/workitems"), ("GET", f"/workitems/{uid}"), ("POST", "/workitems")):
        assert served.send(method, path, token=None).status_code == 401
        assert served.send(method, path, token="guessed-guessed-guessed").status_code == 401


def test_a_workitem_goes_from_scheduled_to_completed_under_one_transaction_uid(served: Served) -> None:
    uid, transaction = served.create(workitem(film())), generate_uid(prefix=None)
    assert served.change_state(uid, "COMPLETED", transaction) == 409
    assert served.change_state(uid, "IN PROGRESS", transaction) == 200
    assert served.change_state(uid, "IN PROGRESS", generate_uid(prefix=None)) == 409
    told = Dataset()
    item = Dataset()
    item.ProcedureStepProgress = "50"
    told.ProcedureStepProgressInformationSequence = [item]
    path = f"/workitems/{uid}"
    assert served.send("POST", path, told).status_code == 400
    assert served.send("POST", f"{path}?transaction-uid={generate_uid(prefix=None)}", told).status_code == 400
    assert served.send("POST", f"{path}?transaction-uid={transaction}", told).status_code == 200
    assert served.retrieve(uid).ProcedureStepProgressInformationSequence[0].ProcedureStepProgress == 50
    assert served.change_state(uid, "COMPLETED", transaction) == 400, "nothing is said of what was performed"
    assert served.send("POST", f"{path}?{transaction}", finished(uid, completed=True)).status_code == 200
    assert served.change_state(uid, "COMPLETED", generate_uid(prefix=None)) == 400
    assert served.change_state(uid, "COMPLETED", transaction) == 200
    assert served.state(uid) == "COMPLETED"
    assert served.send("POST", f"{path}?transaction-uid={transaction}", told).status_code == 409
    assert served.change_state(uid, "CANCELED", transaction) == 409


def test_a_performer_cancels_with_a_reason(served: Served) -> None:
    uid, transaction = served.create(workitem(film())), generate_uid(prefix=None)
    assert served.change_state(uid, "IN PROGRESS", transaction) == 200
    assert served.change_state(uid, "CANCELED", transaction) == 400
    path = f"/workitems/{uid}?transaction-uid={transaction}"
    assert served.send("POST", path, finished(uid, completed=False)).status_code == 200
    assert served.change_state(uid, "CANCELED", transaction) == 200


def test_an_update_touches_neither_state_nor_patient(served: Served) -> None:
    uid = served.create(workitem(film()))
    for keyword, value in (("ProcedureStepState", "COMPLETED"), ("PatientID", "other")):
        change = Dataset()
        setattr(change, keyword, value)
        assert served.send("POST", f"/workitems/{uid}", change).status_code == 400
    change = Dataset()
    change.ScheduledProcedureStepPriority = "HIGH"
    assert served.send("POST", f"/workitems/{uid}", change).status_code == 200
    assert served.retrieve(uid).ScheduledProcedureStepPriority == "HIGH"


def test_a_scheduled_workitem_is_withdrawn_by_request_and_a_foreign_performer_can_not_be_told(served: Served) -> None:
    reason = Dataset()
    reason.ReasonForCancellation = "wrong patient positioning"
    scheduled, claimed = served.create(workitem(film())), served.create(workitem(film()))
    assert served.send("POST", f"/workitems/{scheduled}/cancelrequest", reason).status_code == 202
    got = served.retrieve(scheduled)
    assert got.ProcedureStepState == "CANCELED"
    told = got.ProcedureStepProgressInformationSequence[0]
    assert told.ReasonForCancellation == "wrong patient positioning"
    assert told.ProcedureStepDiscontinuationReasonCodeSequence[0].CodeValue == "110500"
    assert served.change_state(claimed, "IN PROGRESS", generate_uid(prefix=None)) == 200
    for uid in (scheduled, claimed):
        assert served.send("POST", f"/workitems/{uid}/cancelrequest/RIS", reason).status_code == 409


def test_workitems_are_searched_by_state_code_patient_date_and_page(served: Served) -> None:
    made = [
        served.create(workitem(film(), ScheduledProcedureStepStartDateTime=f"202611{day:02}08")) for day in (1, 2, 3)
    ]
    other = served.create(workitem(film(), ScheduledWorkitemCodeSequence=[code("else")], PatientName="Else^A"))
    served.change_state(made[2], "IN PROGRESS", generate_uid(prefix=None))

    def searched(query: str) -> set[str]:
        answer = served.send("GET", f"/workitems?{query}")
        if answer.status_code == 204:
            return set()
        assert answer.status_code == 200, answer.text
        return {workitem["00080018"]["Value"][0] for workitem in answer.json()}

    assert searched("") == {*made, other}
    assert searched("ProcedureStepState=SCHEDULED") == {made[0], made[1], other}
    assert searched("00741000=IN%20PROGRESS") == {made[2]}
    assert searched("ScheduledWorkitemCodeSequence.CodeValue=films-ai") == set(made)
    assert searched("00404018.00080100=else&includefield=all") == {other}
    assert searched("PatientName=doe*&PatientID=P-4711") == set(made)
    assert searched("ScheduledProcedureStepStartDateTime=20261102-") == {made[1], made[2]}
    assert searched("ScheduledProcedureStepStartDateTime=20261101-20261102") == {made[0], made[1], other}
    assert searched("PatientID=nobody") == set()
    assert searched("ProcedureStepState=DONE") == set()
    assert len(searched("limit=2")) == 2
    assert searched("limit=2&offset=2") == {*made, other} - searched("limit=2")
    assert served.send("GET", "/workitems?limit=2").headers["Warning"].startswith("299")
    assert searched("ProcedureStepState.CodeValue=SCHEDULED&PatientName.CodeValue=x") == set()
    for wrong in ("NoSuchKeyword=1", "limit=many", f"offset={'9' * 5000}"):
        assert served.send("GET", f"/workitems?{wrong}").status_code == 400


@pytest.mark.parametrize(
    ("name", "found_by"),
    [
        ("Люкceмбypг^Роза", ["Люкceмбypг^Роза", "люкceм*", "*роза"]),
        (
            "Yamada^Tarou=山田^太郎=やまだ^たろう",
            ["Yamada^Tarou", "yamada*", "=山田*", "山田^太郎", "*太郎*", "やまだ*"],
        ),
        ("Wang^XiaoDong=王^小东", ["王^小东", "王*"]),
        ("Äneas^Rüdiger", ["äneas*", "ÄNEAS^RÜDIGER"]),
        ("Σίσυφος^Α", ["σίσυφοσ*", "ΣΊΣΥΦΟΣ*"]),
    ],
)
def test_a_patient_is_found_by_name_in_any_letters(served: Served, name: str, found_by: list[str]) -> None:
    wanted = served.create(workitem(film(), PatientName=name))
    served.create(workitem(film(), PatientName="A^B"))
    assert str(served.retrieve(wanted).PatientName) == name
    for text in found_by:
        answer = served.send("GET", "/workitems?" + urlencode({"PatientName": text}))
        assert answer.status_code == 200, text
        assert [one["00080018"]["Value"][0] for one in answer.json()] == [wanted], text


def test_what_is_not_there_and_what_is_not_offered_is_said_so(served: Served) -> None:
    assert served.send("GET", "/workitems/1.2.3").status_code == 404
    assert served.send("GET", "/workitems/no-uid").status_code == 400
    assert served.change_state("1.2.3", "IN PROGRESS", "1.2") == 404
    assert served.send("POST", "/workitems/1.2.3/subscribers/RIS").status_code == 501


def test_dicomweb_client_reads_the_worklist_as_dicom_json(served: Served) -> None:
    """It knows no UPS-RS; its HTTP layer and its reading of DICOM JSON are somebody else's than ours."""
    uid = served.create(workitem(film()))
    client = DICOMwebClient(served.url, headers={"Authorization": f"Bearer {TOKEN}"})
    got = client._http_get_application_json(f"{served.url}/workitems", params={"ProcedureStepState": "SCHEDULED"})
    (listed,) = [Dataset.from_json(encoded) for encoded in got]
    assert listed.SOPInstanceUID == uid


def test_a_change_that_was_answered_is_there_after_the_process_died(served: Served, site: Site) -> None:
    uid = served.create(workitem(film()))
    served.change_state(uid, "IN PROGRESS", "1.2.3")
    fresh = Catalog(sqlite_url(site.folder / "state" / "catalog.sqlite"))
    with fresh.read() as session:
        row = workitems.get(session, workitems.OWN, uid)
        assert row is not None
        assert (row.state, row.transaction_uid) == ("IN PROGRESS", "1.2.3")
        assert site.storage.exists(str(row.key))
    fresh.close()
    left = list(site.storage.root.rglob("*.json"))
    assert len(left) == 1, "no former copy of the data set is left"


def test_neither_catalog_nor_log_names_the_patient(
    served: Served, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="whyray")
    uid = served.create(workitem(film()))
    served.send("POST", "/workitems", workitem(film(), ProcedureStepLabel=None))
    served.send("POST", f"/workitems/{uid}/cancelrequest")
    written = b"".join(path.read_bytes() for path in (site.folder / "state").glob("catalog.sqlite*"))
    for secret in (PATIENT, "P-4711"):
        assert secret not in caplog.text
        assert secret.encode() not in written
