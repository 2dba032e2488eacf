"""What a patient is and who answers for it: species, breed and responsible person (PS3.3 C.7.1.1)."""

from __future__ import annotations

from pydicom import Dataset

from whyray.results.carried import copy_valid, valid_element, valid_text

SPECIES = (
    "PatientSpeciesDescription",
    "PatientSpeciesCodeSequence",
    "PatientBreedDescription",
    "PatientBreedCodeSequence",
    "BreedRegistrationSequence",
    "StrainDescription",
    "StrainNomenclature",
    "StrainCodeSequence",
    "StrainAdditionalInformation",
    "PatientSexNeutered",
    "ResponsiblePersonRole",
    "ResponsibleOrganization",
)
"""Attributes that are taken over where they are valid."""
_OF_ANIMALS: dict[str, list[Dataset] | None] = {
    "PatientBreedCodeSequence": [],
    "BreedRegistrationSequence": [],
    "PatientSexNeutered": None,
    "ResponsiblePerson": None,
    "ResponsibleOrganization": None,
}
"""Type 2C: required of patients that are no humans, empty where they are not known; allowed of all."""


def add_species(made: Dataset, source: Dataset) -> None:
    """Add species, breed, and who is responsible for the patient, with what the standard requires of animals."""
    for keyword in SPECIES:
        copy_valid(made, source, keyword)
    if has_usable_responsible_person(source):
        copy_valid(made, source, "ResponsiblePerson")
    else:
        made.pop("ResponsiblePersonRole", None)
    if not ("PatientSpeciesDescription" in made or "PatientSpeciesCodeSequence" in made):
        return
    for keyword, empty in _OF_ANIMALS.items():
        if keyword not in made:
            setattr(made, keyword, empty)
    if not made.PatientBreedCodeSequence and "PatientBreedDescription" not in made:
        made.PatientBreedDescription = None


def has_usable_responsible_person(source: Dataset) -> bool:
    """Whether a responsible person is named with the role that the name needs (type 1C)."""
    person = valid_element(source, "ResponsiblePerson")
    return person is not None and not person.is_empty and bool(valid_text(source, "ResponsiblePersonRole"))
