"""Results are encoded to the very bytes that pydicom writes, whatever stands in them."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from whyray.results.encoding import encoded_file


def by_pydicom(dataset: Dataset) -> bytes:
    with BytesIO() as file:
        dataset.save_as(file, enforce_file_format=True)
        return file.getvalue()


def made(character_set: str | list[str] | None = None, *, nested: str = "plain") -> Dataset:
    """A data set with elements of many representations, two levels of sequences, and pixels whose words are open."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if character_set is not None:
        dataset.SpecificCharacterSet = character_set
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, "2.25.1"
    dataset.PatientName, dataset.StudyDate, dataset.StudyTime = "Doe^Jane", "20260101", "101112.5"
    dataset.ImageType, dataset.InstanceNumber = ["DERIVED", "SECONDARY"], 3
    dataset.PixelSpacing, dataset.WindowCenter = [0.1435, 0.1435], 40.25
    dataset.AccessionNumber, dataset.StudyID = "", None
    inner, deeper = Dataset(), Dataset()
    deeper.CodeValue, deeper.CodeMeaning = "T-1", nested
    inner.ConceptNameCodeSequence, inner.TextValue = [deeper], "first\r\nsecond \\ third ~" + nested
    inner.GraphicData, inner.ReferencedFrameNumber = [1.5, 2.25, 3.0, 4.5], [1, 2]
    inner.SmallestImagePixelValue = 7  # US or SS, as the root's pixels are
    dataset.ContentSequence, dataset.ReferencedStudySequence = [inner, Dataset()], []
    dataset.Rows, dataset.Columns, dataset.BitsAllocated, dataset.PixelRepresentation = 2, 3, 16, 1
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.SmallestImagePixelValue = -1
    dataset.PixelData = np.arange(6, dtype=np.int16).tobytes()
    return dataset


@pytest.mark.parametrize(
    ("character_set", "nested"),
    [
        (None, "plain"),
        ("ISO_IR 100", "Überlauf"),
        ("ISO_IR 192", "心臓"),
        ("ISO_IR 13", "ﾔﾏﾀﾞ"),
        (["", "ISO 2022 IR 87"], "心臓 and more"),
        (["ISO 2022 IR 100", "ISO 2022 IR 126"], "ΔΕ ü"),
    ],
)
def test_the_bytes_are_those_of_pydicom_in_every_character_set(
    character_set: str | list[str] | None, nested: str
) -> None:
    assert encoded_file(made(character_set, nested=nested)) == by_pydicom(made(character_set, nested=nested))


def test_what_was_read_from_a_file_and_odd_items_are_written_as_pydicom_writes_them() -> None:
    def odd() -> Dataset:
        dataset = made("ISO_IR 100")
        first = dataset.ContentSequence[0]
        first.is_undefined_length_sequence_item = True
        dataset.ContentSequence[1].SpecificCharacterSet = "ISO_IR 192"
        dataset.ContentSequence[1].TextValue = "心"
        dataset["ReferencedStudySequence"].is_undefined_length = True
        dataset.add_new(0x00091001, "UN", b"odd")
        dataset.add_new(0x00091002, "LO", "x" * 70_000)  # longer than its length can say
        return dataset

    with pytest.warns(UserWarning, match="64 kByte"):
        assert encoded_file(odd()) == by_pydicom(odd())


def test_another_transfer_syntax_is_left_to_pydicom() -> None:
    def implicit() -> Dataset:
        dataset = made()
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        return dataset

    assert encoded_file(implicit()) == by_pydicom(implicit())


def test_pixels_of_an_odd_number_of_bytes_are_padded() -> None:
    def odd() -> Dataset:
        dataset = made()
        dataset.Rows, dataset.Columns, dataset.BitsAllocated, dataset.PixelRepresentation = 1, 3, 8, 0
        del dataset.SmallestImagePixelValue
        dataset.PixelData = b"abc"
        return dataset

    assert encoded_file(odd()) == by_pydicom(odd())
