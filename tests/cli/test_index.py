"""`whyray package index`: a folder of images becomes an index that holds no identity."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.conftest import Cli
from indexed import load
from planted_cases import TARGETS, cases_package, image_of, images_of
from synthetic import radiograph, write
from whyray.explain import CaseMatches, explain
from whyray.explain.latent import index_of
from whyray.packages import Artefact, read_artefact

PLACES = ("upper left", "lower right", "upper right")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return cases_package(tmp_path / "packages")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Thirty films; what is in them is in labels.csv."""
    return make_pictures(tmp_path, "Doe^Jane {:02}.png")


def make_pictures(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir(exist_ok=True)
    lines = [f"image,{TARGETS[0]}"]
    places = PLACES * 10
    for number, (place, x) in enumerate(zip(places, images_of(places), strict=True)):
        Image.fromarray((x[0, 0] * 255).astype(np.uint8)).save(folder / name.format(number))
        lines.append(f"{name.format(number)},{int(place == TARGETS[0])}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return folder


def test_pictures_and_labels_become_an_index_that_similar_cases_uses(
    cli: Cli, package: Path, pictures: Path, tmp_path: Path
) -> None:
    said = cli("package", "index", package, pictures, "--labels", tmp_path / "labels.csv", "--no-umap")
    assert said.code == 0, said.everything
    assert "30 references" in said.out
    assert "trustworthiness" in said.out
    assert "tells outliers apart" in said.out
    model = load(package)
    x = image_of("upper left", np.random.default_rng(77))
    explanation = explain(model, x, target=TARGETS[0], method="similar-cases")
    assert isinstance(explanation, CaseMatches)
    assert all(match.known for match in explanation.matches)
    assert {match.label[:5] for match in explanation.matches} == {"case-"}
    assert index_of(model, method="a test").known[:, 1].tolist() == [-1] * 30


def test_a_configuration_says_where_a_sites_index_lies_and_that_comes_before_the_packages_own(
    cli: Cli, package: Path, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "whyray.yaml").write_text(
        f"packages: {{folders: ['{tmp_path / 'packages'}'], artefacts: '{tmp_path / 'artefacts'}'}}\n"
    )
    said = cli("package", "index", "planted-cases", pictures, "--config", tmp_path / "whyray.yaml", "--no-umap")
    assert said.code == 0, said.everything
    assert (tmp_path / "artefacts" / "planted-cases" / "1.0.0" / "reference-index.npz").is_file()
    assert not (package / "onboarding").exists()


def content(path: Path) -> bytes:
    """All bytes of the artefact, unpacked."""
    with zipfile.ZipFile(path) as file:
        return b"".join(file.read(name) for name in file.namelist())


def test_nothing_in_the_file_tells_whose_the_images_are(cli: Cli, package: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    films = []
    for number in range(24):
        pixels = (image_of(PLACES[number % 3], rng)[0, 0] * 4000).astype(np.uint16)
        film = radiograph(pixels)
        film.PatientName, film.PatientID = "Mustermann^Erika", f"PAT-{number // 2}"
        film.AccessionNumber, film.InstitutionName = "ACC4711", "Hospital Nowhere"
        film.SOPInstanceUID = film.file_meta.MediaStorageSOPInstanceUID = f"1.2.840.99999.{number}"
        film.StudyInstanceUID, film.SeriesInstanceUID = f"1.2.840.88888.{number}", f"1.2.840.77777.{number}"
        films.append(film)
    write(films, tmp_path / "archive of ward 7")
    said = cli(
        *("package", "index", package, tmp_path / "archive of ward 7", "--out", tmp_path / "site", "--no-umap"),
        *("--source", "films of 2024", "--licence", "internal"),
    )
    assert said.code == 0, said.everything
    path = tmp_path / "site" / "planted-cases" / "1.0.0" / "reference-index.npz"
    for raw in (content(path), path.read_bytes()):
        for secret in ("Mustermann", "Erika", "PAT-", "ACC4711", "Nowhere", "1.2.840", "ward 7", ".dcm", str(tmp_path)):
            assert secret.encode() not in raw, secret
    facts = read_artefact(path).facts
    assert (facts.source, facts.licence, facts.count) == ("films of 2024", "internal", 24)
    assert "Mustermann" not in said.everything


def test_file_names_leave_no_trace_the_same_images_give_the_same_index(cli: Cli, package: Path, tmp_path: Path) -> None:
    artefacts: list[Artefact] = []
    for round_, name in enumerate(("a{:02}.png", "z{:02}.png")):
        home = tmp_path / str(round_)
        home.mkdir()
        pictures = make_pictures(home, name)
        if round_:  # and in another order
            for number, path in enumerate(sorted(pictures.iterdir(), reverse=True)):
                path.rename(path.with_name(f"b{number:02}.png"))
        out = home / "site"
        assert cli("package", "index", package, pictures, "--out", out, "--no-umap").code == 0
        artefacts.append(read_artefact(out / "planted-cases" / "1.0.0" / "reference-index.npz"))
    assert artefacts[0].arrays.keys() == artefacts[1].arrays.keys()
    for name in ("embeddings", "pictures", "answers", "logits"):
        np.testing.assert_array_equal(artefacts[0].arrays[name], artefacts[1].arrays[name])
    assert artefacts[0].facts.details["outlier AUROC"].keys() == artefacts[1].facts.details["outlier AUROC"].keys()


def test_the_same_folder_gives_the_same_bytes(cli: Cli, package: Path, pictures: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        assert cli("package", "index", package, pictures, "--out", tmp_path / name, "--no-umap").code == 0
    files = [tmp_path / folder / "planted-cases" / "1.0.0" / "reference-index.npz" for folder in ("first", "second")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_without_thumbnails_no_pixel_is_kept_and_burned_in_text_is_never_kept(
    cli: Cli, package: Path, pictures: Path, tmp_path: Path
) -> None:
    place = tmp_path / "site" / "planted-cases" / "1.0.0" / "reference-index.npz"
    assert (
        cli("package", "index", package, pictures, "--out", tmp_path / "site", "--no-thumbnails", "--no-umap").code == 0
    )
    assert "pictures" not in read_artefact(place).arrays
    rng = np.random.default_rng(0)
    films = []
    for number in range(20):
        film = radiograph((image_of(PLACES[number % 3], rng)[0, 0] * 4000).astype(np.uint16))
        film.SOPInstanceUID = film.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        film.PatientID = f"{number}"
        film.BurnedInAnnotation = "YES" if number < 5 else "NO"
        films.append(film)
    write(films, tmp_path / "films")
    assert cli("package", "index", package, tmp_path / "films", "--out", tmp_path / "site", "--no-umap").code == 0
    arrays = read_artefact(place).arrays
    assert arrays["pictured"].sum() == 15
    assert not arrays["pictures"][~arrays["pictured"]].any()


def test_images_of_one_patient_are_on_one_side_of_the_split(cli: Cli, package: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    films = []
    for number in range(30):
        film = radiograph((image_of(PLACES[number % 3], rng)[0, 0] * 4000).astype(np.uint16))
        film.SOPInstanceUID = film.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        film.PatientID = f"{number % 2}"
        films.append(film)
    write(films, tmp_path / "films")
    assert cli("package", "index", package, tmp_path / "films", "--out", tmp_path / "site", "--no-umap").code == 0
    held_out = read_artefact(tmp_path / "site" / "planted-cases" / "1.0.0" / "reference-index.npz").arrays["held_out"]
    assert held_out.sum() == 15


def test_pictures_of_one_patient_by_a_column_of_the_labels_are_on_one_side_too(
    cli: Cli, package: Path, pictures: Path, tmp_path: Path
) -> None:
    lines = ["image,who"] + [
        f"{picture.name},{number % 2}" for number, picture in enumerate(sorted(pictures.iterdir()))
    ]
    (tmp_path / "who.csv").write_text("\n".join(lines))
    wish = ("package", "index", package, pictures, "--patient", "who", "--no-umap")
    cli(*wish).refused("--patient names a column of --labels")
    cli(*wish, "--labels", tmp_path / "labels.csv").refused("found no who")
    assert cli(*wish, "--labels", tmp_path / "who.csv").code == 0
    held_out = read_artefact(package / "onboarding" / "reference-index.npz").arrays["held_out"]
    assert held_out.sum() == 15


def test_images_that_can_not_be_taken_are_told_and_the_others_are_indexed(
    cli: Cli, package: Path, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "broken.png").write_bytes((pictures / "Doe^Jane 00.png").read_bytes()[:60])
    said = cli("package", "index", package, pictures, "--no-umap")
    assert said.code == 1
    assert "refused: broken.png" in said.everything
    assert "30 references" in said.everything


def test_too_few_images_and_wrong_wishes_are_refused(cli: Cli, package: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for number, x in enumerate(images_of(PLACES)):
        Image.fromarray((x[0, 0] * 255).astype(np.uint8)).save(few / f"{number}.png")
    cli("package", "index", package, few).refused("at least 20 different images, found 3")
    cli("package", "index", package, tmp_path / "nowhere").refused("no file or folder")
    cli("package", "index", "no-such-package", few).refused("no-such-package")
    assert not (package / "onboarding").exists()


def test_real_dicom_files_are_indexed_without_what_their_headers_say(cli: Cli, package: Path, tmp_path: Path) -> None:
    """pydicom-data: the same images in several encodings, volumes and segmentations among them."""
    import data_store
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    folder = Path(data_store.__file__).parent / "data"
    said = cli("package", "index", package, folder, "--no-umap", "--out", tmp_path / "site")
    assert said.code == 1
    assert "were there twice" in said.out
    assert "passed over, since they are no image: " in said.everything
    assert "Segmentation" in said.everything
    raw = content(tmp_path / "site" / "planted-cases" / "1.0.0" / "reference-index.npz")
    secrets: set[str] = set()
    for path in folder.glob("*.dcm"):
        try:
            header = dcmread(path, stop_before_pixels=True)
        except InvalidDicomError:
            continue
        told = [header.get(name) for name in ("PatientName", "PatientID", "SOPInstanceUID", "StudyInstanceUID")]
        secrets |= {str(value) for value in told if value is not None and len(str(value)) > 4} | {path.name}
    assert len(secrets) > 50
    assert not [secret for secret in secrets if secret.encode() in raw]


def test_real_radiographs_become_an_index_of_the_bundled_package(cli: Cli, shared_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    folder.mkdir()
    for path in sorted((shared_data / "nih-cxr" / "images").iterdir())[:24]:
        (folder / path.name).symlink_to(path)
    said = cli("package", "index", "cxr-findings@1", folder, "--out", tmp_path / "site", "--no-umap")
    assert said.code == 0, said.everything
    path = tmp_path / "site" / "cxr-findings" / "1.0.0" / "reference-index.npz"
    details = read_artefact(path).facts.details
    assert details["self-retrieval"]["as it is"] == 1
    assert details["outlier AUROC"]["Mahalanobis"] > 0.85
    assert b".png" not in content(path)
