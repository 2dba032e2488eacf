"""A real archive takes every result, files it under the source's study, and shows the page as it was drawn."""

from __future__ import annotations

from io import BytesIO

import httpx
import numpy as np
import pytest
from PIL import Image

import synthetic
from results.answers import KINDS_OF_A_MAP, answer_about, image_of
from results.sources import read, tilted_planes
from results.test_validity import rich_answer
from whyray.compression.lossless import compressed
from whyray.imaging import read_images
from whyray.results import EVERY_KIND, build_results, build_run_results, encode


@pytest.mark.parametrize("patient", [synthetic.JAPANESE, synthetic.CYRILLIC])
def test_orthanc_files_every_result_in_the_study_of_its_source(patient, shared_orthanc, templates):
    planes = tilted_planes()
    volume = synthetic.volume_of(planes, synthetic.ball((3, -4, 0), 8))
    sources = synthetic.slices(volume, planes, patient=patient, study=f"results/{patient.identifier}")
    results = build_results(rich_answer(image_of(sources)), EVERY_KIND, templates)
    with httpx.Client(base_url=shared_orthanc.url) as archive:
        files = []
        for source in sources:
            with BytesIO() as file:
                source.save_as(file, enforce_file_format=True)
                files.append(file.getvalue())
        files += [encode(result.dataset) for result in results]
        answers = [archive.post("/instances", content=file).raise_for_status().json() for file in files]
        assert {answer["Status"] for answer in answers} == {"Success"}
        (study,) = {answer["ParentStudy"] for answer in answers}
        tags = archive.get(f"/studies/{study}").json()["PatientMainDicomTags"]
        assert tags["PatientName"] == patient.name
        assert len(archive.get(f"/studies/{study}/instances").json()) == len(files)

        capture = answers[len(sources)]["ID"]
        shown = np.asarray(Image.open(BytesIO(archive.get(f"/instances/{capture}/preview").content)).convert("RGB"))
        np.testing.assert_array_equal(shown, results[0].picture)
        again = archive.post("/instances", content=files[-1]).json()
        assert again["Status"] == "AlreadyStored"


@pytest.mark.parametrize("compression", ["jpeg-ls", "rle"])
def test_orthanc_shows_a_compressed_page_as_it_was_drawn(compression, shared_orthanc, templates):
    pixels = np.add.outer(np.arange(120), np.arange(90)) * 8
    source = synthetic.radiograph(pixels, study=f"results/{compression}")
    _, result = build_results(answer_about(image_of([source])), ["sc"], templates)
    with httpx.Client(base_url=shared_orthanc.url) as archive:
        stored = archive.post("/instances", content=compressed(encode(result.dataset), compression))
        preview = archive.get(f"/instances/{stored.json()['ID']}/preview").raise_for_status()
    np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(preview.content)).convert("RGB")), result.picture)


def test_orthanc_shows_the_results_of_a_cine_frame_by_frame_in_one_series_a_kind(shared_orthanc, templates, tmp_path):
    source = synthetic.cine(np.random.default_rng(3).integers(0, 255, (4, 48, 64)), study="results/cine")
    source.save_as(tmp_path / "cine.dcm", enforce_file_format=True)
    frames = read_images([tmp_path / "cine.dcm"]).or_raise()
    results = build_run_results([answer_about(frame) for frame in frames], EVERY_KIND, templates)
    with httpx.Client(base_url=shared_orthanc.url) as archive:
        files = [(tmp_path / "cine.dcm").read_bytes(), *(encode(result.dataset) for result in results)]
        answers = [archive.post("/instances", content=file).raise_for_status().json() for file in files]
        assert {answer["Status"] for answer in answers} == {"Success"}
        assert len({answer["ParentStudy"] for answer in answers}) == 1
        assert len({answer["ParentSeries"] for answer in answers}) == 1 + len(KINDS_OF_A_MAP)
        kinds = [result.kind for result in results]
        at = kinds.index("sc") + 1  # the first page says what was found
        pages = answers[1 + at]["ID"]
        drawn = results[at].dataset.pixel_array
        assert archive.get(f"/instances/{pages}/frames").json() == [0, 1, 2, 3]
        for number, page in enumerate(drawn):
            preview = archive.get(f"/instances/{pages}/frames/{number}/preview").raise_for_status()
            np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(preview.content)).convert("RGB")), page)
        smaller = compressed(files[1 + at], "jpeg-ls")
        assert len(smaller) < len(files[1 + at]) / 4
        np.testing.assert_array_equal(read(smaller).pixel_array, drawn)
