"""Folders as they are: odd names, unreadable files, and objects that are no images."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from cli.conftest import Cli
from synthetic import radiograph, write
from whyray.base.shown import printable, shown_path
from whyray.jobs.input_files import sorted_files

SR, PDF, GSPS, RT_STRUCTURES, SPECTROSCOPY = (
    "1.2.840.10008.5.1.4.1.1.88.11",
    "1.2.840.10008.5.1.4.1.1.104.1",
    "1.2.840.10008.5.1.4.1.1.11.1",
    "1.2.840.10008.5.1.4.1.1.481.3",
    "1.2.840.10008.5.1.4.1.1.4.2",
)
RT_DOSE, PARAMETRIC_MAP, SIEMENS_NON_IMAGE = (
    "1.2.840.10008.5.1.4.1.1.481.2",
    "1.2.840.10008.5.1.4.1.1.30",
    "1.3.12.2.1107.5.9.1",
)


def pixels() -> np.ndarray[Any, Any]:
    image = np.full((64, 56), 300, np.uint16)
    image[14:20, 35:42] = 4000
    return image


def film_in(folder: Path) -> Path:
    (path,) = write([radiograph(pixels(), window=(2048, 4096))], folder)
    return path


def plain_object(path: Path, sop_class: str, **attributes: Any) -> Path:
    """An object of a class, in a file, with no pixels."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = sop_class, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = f"2.25.{abs(hash(path.name))}"
    data = FileDataset(str(path), Dataset(), preamble=b"\0" * 128, file_meta=meta)
    if sop_class != MediaStorageDirectoryStorage:
        data.SOPClassUID, data.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
        data.StudyInstanceUID, data.SeriesInstanceUID = "2.25.7", "2.25.8"
    for name, value in attributes.items():
        setattr(data, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def report_in(folder: Path) -> Any:
    return json.loads((folder / "report.json").read_text("utf-8"))


def odd(folder: Path, name: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return Path(os.fsdecode(os.fsencode(folder) + b"/" + name))


@pytest.mark.parametrize("name", [b"r\xf6ntgen.dcm", b"two\nlines.dcm", b"bell\x07.dcm", "turned\u202e.dcm".encode()])
def test_a_file_of_an_odd_name_that_cannot_be_read_is_refused_by_a_name_that_can_be_shown(
    name: bytes, cli: Cli, planted: Path, tmp_path: Path
) -> None:
    film_in(tmp_path / "study")
    odd(tmp_path / "study", name).write_bytes(b"\0" * 128 + b"DICM" + b"\1\2\3")
    said = cli("explain", tmp_path / "study", "-p", planted, "-o", "out")
    assert said.code == 1, said.everything
    (refused,) = report_in(tmp_path / "out")["refused"]
    assert refused.startswith(f"{shown_path(os.fsdecode(name))}: DecodeError: ")
    assert refused.isprintable()


@pytest.mark.parametrize("name", [b"r\xf6ntgen.dcm", b"two\nlines.dcm"])
def test_a_good_file_of_an_odd_name_is_explained_into_a_folder_of_an_odd_name(
    name: bytes, cli: Cli, planted: Path, tmp_path: Path
) -> None:
    film_in(tmp_path / "plain").rename(odd(tmp_path / "study", name))
    out = odd(tmp_path, b"aus\xfcgabe")
    said = cli("explain", tmp_path / "study", "-p", planted, "-o", out)
    assert said.code == 0, said.everything
    assert "aus\\xfcgabe" in said.everything
    report = report_in(out)
    assert all((out / file_name).is_file() for file_name in report["files"])


def test_a_path_of_an_odd_name_that_does_not_exist_is_told_in_two_lines(
    cli: Cli, planted: Path, tmp_path: Path
) -> None:
    cli("explain", odd(tmp_path, b"r\xf6nt\ngen"), "-p", planted, "-o", "out").refused("NotFound", "r\\xf6nt\\ngen")


def test_what_cannot_be_printed_is_escaped_and_the_rest_stays() -> None:
    assert printable("Größe 胸部 é\u200d") == "Größe 胸部 é\u200d"
    assert printable("a\x00b\u202ec\udcff") == "a\\x00b\\u202ec\\xff"
    assert shown_path(b"r\xf6ntgen") == "r\\xf6ntgen"


def test_objects_beside_images_are_passed_over_with_one_note(cli: Cli, planted: Path, tmp_path: Path) -> None:
    film_in(tmp_path / "study")
    directory = Dataset()
    directory.DirectoryRecordType = "PATIENT"
    plain_object(tmp_path / "study" / "DICOMDIR", MediaStorageDirectoryStorage, DirectoryRecordSequence=[directory])
    plain_object(tmp_path / "study" / "sr1.dcm", SR)
    plain_object(tmp_path / "study" / "sr2.dcm", SR)
    plain_object(tmp_path / "study" / "letter.dcm", PDF, EncapsulatedDocument=b"%PDF-1.4")
    plain_object(tmp_path / "study" / "state.dcm", GSPS)
    plain_object(tmp_path / "study" / "csa.dcm", SIEMENS_NON_IMAGE)
    (tmp_path / "study" / "letter.pdf").write_bytes(b"%PDF-1.4")
    (tmp_path / "study" / "key.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    said = cli("explain", tmp_path / "study", "-p", planted, "-o", "out")
    assert said.code == 0, said.everything
    report = report_in(tmp_path / "out")
    assert report["refused"] == []
    (note,) = report["notes"]
    assert note == (
        "passed over, since they are no image: 2 × Basic Text SR, DICOMDIR, Encapsulated PDF, Grayscale Softcopy "
        f"Presentation State, file that is not DICOM (.pdf), object of private SOP Class {SIEMENS_NON_IMAGE}, picture"
    )


@pytest.mark.parametrize(
    ("sop_class", "attributes"),
    [
        (SR, {}),
        (RT_STRUCTURES, {}),
        (SPECTROSCOPY, {"Rows": 16, "Columns": 16}),
        (RT_DOSE, {"Rows": 4, "Columns": 4}),
        (PARAMETRIC_MAP, {"Rows": 4, "Columns": 4}),
    ],
)
def test_a_folder_without_an_image_is_an_error_that_says_what_is_there(
    sop_class: str, attributes: dict[str, int], cli: Cli, planted: Path, tmp_path: Path
) -> None:
    plain_object(tmp_path / "study" / "one.dcm", sop_class, **attributes)
    said = cli("explain", tmp_path / "study", "-p", planted, "-o", "out")
    said.refused("ImageError", "expected an image, found none in 1 file:")
    assert "route" not in said.err


def test_a_disc_is_named_by_its_folder_and_an_archive_is_to_be_unpacked(
    cli: Cli, planted: Path, tmp_path: Path
) -> None:
    directory = Dataset()
    directory.DirectoryRecordType = "PATIENT"
    disc, archive = tmp_path / "disc", tmp_path / "study.zip"
    contents = plain_object(disc / "DICOMDIR", MediaStorageDirectoryStorage, DirectoryRecordSequence=[directory])
    with ZipFile(archive, "w") as file:
        file.write(film_in(disc), "film.dcm")
    said = cli("explain", contents, "-p", planted, "-o", "out")
    said.refused("ImageError", "A DICOMDIR is a table of contents: name the folder in which it lies.")
    said = cli("explain", archive, "-p", planted, "-o", "out")
    said.refused("DecodeError", "It is a ZIP archive: unpack it, and name the folder.")


@pytest.mark.parametrize("name", ["without-preamble", "empty.dcm"])
def test_a_damaged_instance_in_a_folder_is_refused_by_name_and_not_passed_over(
    name: str, cli: Cli, planted: Path, tmp_path: Path
) -> None:
    film = film_in(tmp_path / "study")
    (tmp_path / "study" / name).write_bytes(b"" if name == "empty.dcm" else film.read_bytes()[132:])
    assert cli("explain", tmp_path / "study", "-p", planted, "-o", "out").code == 1
    (refused,) = report_in(tmp_path / "out")["refused"]
    assert refused.startswith(f"{name}: DecodeError: ")


def test_where_no_file_can_be_used_the_error_names_each(cli: Cli, planted: Path, tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    for name in "abcde":
        (tmp_path / "study" / f"{name}.dcm").write_bytes(b"nothing")
    said = cli("explain", tmp_path / "study", "-p", planted, "-o", "out")
    said.refused("DecodeError", "a.dcm: expected a DICOM file", "c.dcm: ", "and 2 more")
    assert "Send the instance again" not in said.err


def test_a_folder_of_other_files_is_an_error_that_says_what_they_are(cli: Cli, planted: Path, tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "notes.txt").write_text("nothing")
    said = cli("explain", tmp_path / "study", "-p", planted, "-o", "out")
    said.refused("ImageError", "none in 1 file: file that is not DICOM (.txt)")


def test_an_image_whose_size_is_missing_is_refused_and_not_passed_over(cli: Cli, planted: Path, tmp_path: Path) -> None:
    film_in(tmp_path / "study")
    broken = dcmread(film_in(tmp_path / "broken"))
    del broken.Rows
    broken.SOPInstanceUID = broken.file_meta.MediaStorageSOPInstanceUID = "2.25.99"
    broken.save_as(tmp_path / "study" / "broken.dcm")
    assert cli("explain", tmp_path / "study", "-p", planted, "-o", "out").code == 1
    (refused,) = report_in(tmp_path / "out")["refused"]
    assert "broken.dcm" in refused
    assert "Rows" in refused


def test_images_to_onboard_on_are_told_from_what_lies_beside_them(tmp_path: Path) -> None:
    film = film_in(tmp_path / "study")
    report = plain_object(tmp_path / "study" / "sr.dcm", SR)
    segmentation = plain_object(tmp_path / "study" / "seg.dcm", "1.2.840.10008.5.1.4.1.1.66.4")
    files = sorted_files([film, report, segmentation])
    assert (files.images, files.segmentations, files.others) == ((film,), (segmentation,), ("Basic Text SR",))


def test_no_error_on_the_command_line_speaks_of_routes(cli: Cli, planted: Path, tmp_path: Path) -> None:
    """Routes are the service's: who explains a file has none."""
    (other,) = write([radiograph(pixels(), modality="MG")], tmp_path / "other")
    said = cli("explain", other, "-p", planted, "-o", "out")
    said.refused("ImageError", "modality")
    assert "route" not in said.err
