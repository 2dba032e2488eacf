"""Which routes take which series, which clause refused, and what becomes of the rest."""

from __future__ import annotations

from pathlib import Path

from pydicom import Dataset

from whyray.config import Config, read_config
from whyray.routing import Series, is_own_result, match_series, match_study, routes_for

ROUTES = """\
routes:
  - name: chest
    when: {Modality: {in: [CR, DX]}, BodyPartExamined: {contains: chest}, ViewPosition: {absent_or_in: [PA, AP]}}
    run: cxr@1
  - name: head
    when: {Modality: CT, NumberOfSeriesRelatedInstances: {range: {min: 10}}}
    study: {ModalitiesInStudy: {not_in: [PT]}, NumberOfStudyRelatedSeries: {range: {max: 3}}}
    run: [head@1, other]
  - {name: off, when: {}, run: x, enabled: false}
"""


def configuration(text: str = ROUTES) -> Config:
    config, problems = read_config(text, folder=Path("/"))
    assert problems == ()
    assert config is not None
    return config


def header(**values: object) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


CHEST = header(Modality="DX", BodyPartExamined="CHEST", ViewPosition="")
CT = header(Modality="CT")


def test_a_match_says_which_clause_refused_and_what_was_found() -> None:
    match = match_series(configuration().routes[0], header(Modality="MR", BodyPartExamined="CHEST"))
    assert not match.matched
    assert [(clause.text, clause.matched, clause.value) for clause in match.clauses] == [
        ("Modality in [CR, DX]", False, "MR"),
        ("BodyPartExamined contains chest", True, "CHEST"),
        ("ViewPosition absent or ViewPosition in [PA, AP]", True, "absent"),
    ]
    assert [refusal.text for refusal in match.refusals] == ["Modality in [CR, DX]"]


def test_what_was_found_never_names_the_patient() -> None:
    config = configuration(
        "routes: [{name: r, run: p, when: {PatientName: A, PatientID: '7', PatientBirthDate: '19500101',"
        " PerformingPhysicianName: C, PatientSex: F, any: [{PatientName: B}, {Modality: CT}]}}]"
    )
    series_header = header(
        PatientName="Rossi^Anna", PatientID="4711", PatientBirthDate="19600202", PerformingPhysicianName="Weiss",
        PatientSex="M",
    )  # fmt: skip
    shown = str(match_series(config.routes[0], series_header))
    for word in ("Rossi", "Anna", "4711", "19600202", "Weiss"):
        assert word not in shown
    assert "value='M'" in shown


def test_each_series_goes_where_its_clauses_say() -> None:
    routing = routes_for(configuration(), [Series("1", CHEST), Series("2", CT, 40), Series("3", CT, 3)])
    assert [(match.route.name, match.series) for match in routing.matches] == [("chest", ("1",)), ("head", ("2",))]
    assert [str(package) for package in routing.matches[1].packages] == ["head@1", "other"]
    assert not routing.otherwise


def test_a_study_clause_refuses_the_whole_study() -> None:
    config = configuration()
    with_pet = [Series("1", CT, 40), Series("2", header(Modality="PT"), 40)]
    assert routes_for(config, with_pet).otherwise
    assert [refusal.value for refusal in match_study(config.routes[1], with_pet).refusals] == ["CT, PT"]
    many = [Series(str(number), CT, 40) for number in range(4)]
    assert routes_for(config, many).otherwise
    assert not routes_for(config, many[:3]).otherwise


def test_otherwise_applies_only_when_no_route_took_any_series() -> None:
    mixed = [Series("1", CHEST), Series("2", header(Modality="US"))]
    assert not routes_for(configuration(), mixed).otherwise
    assert routes_for(configuration(), mixed[1:]).otherwise
    assert routes_for(configuration(), []).otherwise


def test_the_count_of_what_has_arrived_stands_before_what_the_header_says() -> None:
    stated = header(Modality="CT", NumberOfSeriesRelatedInstances="400")
    route = configuration().routes[1]
    assert match_series(route, stated).matched
    assert not match_series(route, stated, instances=3).matched


def test_a_disabled_route_takes_nothing() -> None:
    assert "off" not in [match.route.name for match in routes_for(configuration(), [Series("1", CHEST)]).matches]


def unknown(_: str) -> bool:
    return False


def test_own_results_are_recognised_by_catalog_root_and_equipment() -> None:
    item = header(Manufacturer="Radiology AI", ManufacturerModelName="WhyRay 0.1.0")
    by_item = header(SOPInstanceUID="1.2.3", ContributingEquipmentSequence=[item])
    assert "contributing equipment" in str(is_own_result(by_item, None, unknown))
    assert "its equipment" in str(is_own_result(header(Manufacturer="WHYRAY"), None, unknown))
    assert "root" in str(is_own_result(header(SOPInstanceUID="1.2.9.5"), "1.2.9", unknown))
    assert "catalog" in str(is_own_result(header(SOPInstanceUID="2.25.5"), None, lambda uid: uid == "2.25.5"))


def test_other_objects_are_not_taken_for_own_results() -> None:
    assert is_own_result(header(SOPInstanceUID="1.2.99.5", Manufacturer="GE"), "1.2.9", unknown) is None
    assert is_own_result(header(SOPInstanceUID="2.25.7"), None, unknown) is None
    assert is_own_result(header(Manufacturer="Whyrayson"), None, unknown) is None
    assert is_own_result(Dataset(), "1.2.9", unknown) is None
