"""What results take over from the source: the order that they belong to, and patients that are no humans."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

import synthetic
from results.answers import KINDS_OF_A_MAP, answer_about, image_of
from results.odd_files import write_raw
from results.sources import read, tilted
from whyray.results import EVERY_KIND, build_results, encode
from whyray.results.header import invalid_attributes

DOCUMENTS = ("sr", "ko")
PATIENT = synthetic._item(ReferencedSOPClassUID="1.2.840.10008.3.1.2.1.1", ReferencedSOPInstanceUID="1.2.3.4")
STUDY = synthetic._item(ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1", ReferencedSOPInstanceUID="1.2.3.5")


def code(value: str, meaning: str, scheme: str = "99X") -> Dataset:
    return synthetic._item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def request(**attributes: object) -> Dataset:
    usual = {
        "RequestedProcedureID": "RP-1",
        "AccessionNumber": "A-1",
        "ScheduledProcedureStepID": "SPS-1",
        "ScheduledProcedureStepDescription": "Chest PA",
        "RequestedProcedureDescription": "Chest",
        "RequestedProcedureCodeSequence": [code("CH", "Chest")],
        "ScheduledProtocolCodeSequence": [code("CHPA", "Chest PA")],
        "ReasonForTheRequestedProcedure": "cough",
    }
    return synthetic._item(**{**usual, **attributes})


@pytest.fixture
def results_of(templates, tmp_path: Path) -> Callable[..., dict[str, list[Dataset]]]:
    """Results of every kind of a radiograph with these attributes, read from a file, by kind."""

    def build(raw=None, **attributes: object) -> dict[str, list[Dataset]]:
        source = synthetic.radiograph(np.arange(60 * 40).reshape(60, 40), modality="CR")
        for keyword, value in attributes.items():
            setattr(source, keyword, value)
        path = write_raw(source, raw or {}, tmp_path / "source.dcm")
        build.image = image_of([path])
        made: dict[str, list[Dataset]] = {}
        for result in build_results(answer_about(build.image), EVERY_KIND, templates):
            made.setdefault(result.kind, []).append(read(encode(result.dataset)))
        assert set(made) == set(KINDS_OF_A_MAP)
        return made

    return build


def test_the_request_that_an_image_was_made_for_goes_into_the_series_of_its_results(results_of, errors_of):
    made = results_of(RequestAttributesSequence=[request(), request(RequestedProcedureID="RP-2")])
    for kind, datasets in made.items():
        for dataset in datasets:
            assert errors_of(encode(dataset)) == []
            if kind in DOCUMENTS:
                assert "RequestAttributesSequence" not in dataset, "documents have another sequence for it"
                continue
            first, second = dataset.RequestAttributesSequence
            assert (first.RequestedProcedureID, second.RequestedProcedureID) == ("RP-1", "RP-2")
            assert first.ScheduledProcedureStepID == "SPS-1"
            assert first.ScheduledProtocolCodeSequence[0].CodeMeaning == "Chest PA"
            assert first.ReasonForTheRequestedProcedure == "cough"


def test_a_document_names_the_request_that_it_answers_to_with_all_that_a_ris_looks_for(results_of):
    made = results_of(
        RequestAttributesSequence=[request()],
        PlacerOrderNumberImagingServiceRequest="P-1",
        FillerOrderNumberImagingServiceRequest="F-1",
        IssuerOfAccessionNumberSequence=[synthetic._item(LocalNamespaceEntityID="RIS")],
    )
    for dataset in [*made["sr"], *made["ko"]]:
        (item,) = dataset.ReferencedRequestSequence
        assert item.StudyInstanceUID == dataset.StudyInstanceUID
        assert (item.AccessionNumber, item.RequestedProcedureID) == ("A-1", "RP-1")
        assert item.PlacerOrderNumberImagingServiceRequest == "P-1"
        assert item.FillerOrderNumberImagingServiceRequest == "F-1"
        assert item.IssuerOfAccessionNumberSequence[0].LocalNamespaceEntityID == "RIS"
        assert item.RequestedProcedureDescription == "Chest"
        assert item.RequestedProcedureCodeSequence[0].CodeValue == "CH"
        assert item.ReferencedStudySequence == []
        assert "ScheduledProcedureStepID" not in item, "a document is not of a step"


def test_steps_of_one_procedure_are_one_request_of_a_document(results_of):
    steps = [request(ScheduledProcedureStepID="SPS-1"), request(ScheduledProcedureStepID="SPS-2")]
    made = results_of(RequestAttributesSequence=steps)
    assert len(made["sr"][0].ReferencedRequestSequence) == 1
    assert len(made["seg"][0].RequestAttributesSequence) == 2


def test_a_request_without_an_accession_number_has_the_studys(results_of):
    item = request()
    del item.AccessionNumber
    made = results_of(RequestAttributesSequence=[item])
    assert made["sr"][0].ReferencedRequestSequence[0].AccessionNumber == "ACC1"
    assert "AccessionNumber" not in made["seg"][0].RequestAttributesSequence[0]


def test_a_request_that_stands_at_the_top_of_an_image_counts_too(results_of, errors_of):
    made = results_of(RequestedProcedureID="RP-7", ScheduledProcedureStepID="SPS-7")
    (item,) = made["sr"][0].ReferencedRequestSequence
    assert (item.RequestedProcedureID, item.AccessionNumber) == ("RP-7", "ACC1")
    (item,) = made["sc"][0].RequestAttributesSequence
    assert (item.RequestedProcedureID, item.ScheduledProcedureStepID) == ("RP-7", "SPS-7")
    assert all(errors_of(encode(dataset)) == [] for datasets in made.values() for dataset in datasets)


@pytest.mark.parametrize(
    "attributes", [{}, {"RequestAttributesSequence": []}, {"RequestAttributesSequence": [Dataset()]}]
)
def test_an_image_that_names_no_request_gives_results_that_name_none(attributes, results_of):
    for datasets in results_of(**attributes).values():
        for dataset in datasets:
            assert "RequestAttributesSequence" not in dataset
            assert "ReferencedRequestSequence" not in dataset


def test_what_is_not_valid_in_a_request_is_left_out_and_noted_and_the_rest_stays(results_of, errors_of):
    odd = request(RequestedProcedureCodeSequence=[synthetic._item(CodeMeaning="no code")])
    odd.private_block(0x0011, "ACME", create=True).add_new(0x01, "LO", "secret")
    made = results_of(RequestAttributesSequence=[odd, synthetic._item(RequestedProcedureDescription="of no request")])
    for datasets in made.values():
        for dataset in datasets:
            assert errors_of(encode(dataset)) == []
            assert b"secret" not in encode(dataset)
    (item,) = made["seg"][0].RequestAttributesSequence
    assert (item.RequestedProcedureID, "RequestedProcedureCodeSequence" in item) == ("RP-1", False)
    assert made["sr"][0].ReferencedRequestSequence[0].RequestedProcedureCodeSequence == []
    notes = [str(note) for note in invalid_attributes(results_of.image.header)]
    assert any("Requested Procedure Code Sequence (0032,1064)" in note for note in notes)


def test_references_to_the_patient_and_the_study_as_managed_objects_are_kept(results_of, errors_of):
    made = results_of(
        ReferencedPatientSequence=[PATIENT],
        ReferencedStudySequence=[STUDY, synthetic._item(ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1")],
    )
    for datasets in made.values():
        for dataset in datasets:
            assert dataset.ReferencedPatientSequence[0].ReferencedSOPInstanceUID == "1.2.3.4"
            assert [reference.ReferencedSOPInstanceUID for reference in dataset.ReferencedStudySequence] == ["1.2.3.5"]
            assert errors_of(encode(dataset)) == []


DOG = {
    "PatientSpeciesDescription": "Canine species",
    "PatientSpeciesCodeSequence": [code("448771007", "Canis lupus subspecies familiaris", "SCT")],
    "PatientBreedDescription": "Poodle",
    "PatientBreedCodeSequence": [code("132551007", "Miniature poodle", "SCT")],
    "BreedRegistrationSequence": [
        synthetic._item(
            BreedRegistrationNumber="DN-1", BreedRegistryCodeSequence=[code("109200", "American Kennel Club", "DCM")]
        )
    ],
    "PatientSexNeutered": "ALTERED",
    "ResponsiblePerson": "Doe^John",
    "ResponsiblePersonRole": "OWNER",
    "ResponsibleOrganization": "Animal hospital",
}


def test_a_dog_stays_one_with_its_breed_and_its_owner(results_of, errors_of):
    for datasets in results_of(**DOG).values():
        for dataset in datasets:
            assert dataset.PatientSpeciesDescription == "Canine species"
            assert dataset.PatientSpeciesCodeSequence[0].CodeValue == "448771007"
            assert (dataset.PatientBreedDescription, dataset.PatientSexNeutered) == ("Poodle", "ALTERED")
            assert dataset.PatientBreedCodeSequence[0].CodeMeaning == "Miniature poodle"
            assert dataset.BreedRegistrationSequence[0].BreedRegistrationNumber == "DN-1"
            assert (dataset.ResponsiblePerson, dataset.ResponsiblePersonRole) == ("Doe^John", "OWNER")
            assert dataset.ResponsibleOrganization == "Animal hospital"
            assert errors_of(encode(dataset)) == []


@pytest.mark.parametrize("kept", ["PatientSpeciesDescription", "PatientSpeciesCodeSequence"])
def test_an_animal_of_which_only_the_species_is_known_gives_valid_results(kept, results_of, errors_of):
    for datasets in results_of(**{kept: DOG[kept]}).values():
        for dataset in datasets:
            assert dataset[kept].value
            assert not dataset.ResponsiblePerson
            assert not dataset.BreedRegistrationSequence
            assert errors_of(encode(dataset)) == []


def test_a_parent_is_named_where_nothing_is_said_of_the_species(results_of, errors_of):
    for datasets in results_of(ResponsiblePerson="Doe^Mary", ResponsiblePersonRole="PARENT").values():
        for dataset in datasets:
            assert (dataset.ResponsiblePerson, dataset.ResponsiblePersonRole) == ("Doe^Mary", "PARENT")
            assert "PatientBreedCodeSequence" not in dataset
            assert errors_of(encode(dataset)) == []


def test_a_childs_parent_is_named_and_the_child_is_given_no_breed(results_of, errors_of):
    human = [code("337915000", "Homo sapiens", "SCT")]
    made = results_of(PatientSpeciesCodeSequence=human, ResponsiblePerson="Doe^Mary", ResponsiblePersonRole="PARENT")
    for datasets in made.values():
        for dataset in datasets:
            assert (dataset.ResponsiblePerson, dataset.ResponsiblePersonRole) == ("Doe^Mary", "PARENT")
            assert not dataset.get("PatientBreedCodeSequence")
            assert errors_of(encode(dataset)) == []


@pytest.mark.parametrize("role", [None, "", "owner of it"])
def test_a_responsible_person_without_a_role_is_left_out_and_noted(role, results_of, errors_of):
    animal = {**DOG, "ResponsiblePersonRole": None}
    raw = {} if role is None else {"ResponsiblePersonRole": ("CS", role.encode().ljust(len(role) + len(role) % 2))}
    for datasets in results_of(raw, **animal).values():
        for dataset in datasets:
            assert not dataset.ResponsiblePerson
            assert "ResponsiblePersonRole" not in dataset
            assert errors_of(encode(dataset)) == []
    notes = [str(note) for note in invalid_attributes(results_of.image.header)]
    assert any("Responsible Person (0010,2297)" in note for note in notes)
    assert not any("John" in note for note in notes)


def test_an_owners_name_comes_through_in_the_sources_script(templates):
    sources = tilted(synthetic.JAPANESE)
    for source in sources:
        source.ResponsiblePerson, source.ResponsiblePersonRole = "Suzuki^Ichiro=鈴木^一郎", "OWNER"
    for result in build_results(answer_about(image_of(sources)), ["seg", "sr"], templates):
        assert str(read(encode(result.dataset)).ResponsiblePerson) == "Suzuki^Ichiro=鈴木^一郎"
