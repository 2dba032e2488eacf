"""The printable report: a valid object whose sheets, printed by somebody else's program, are the pages."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from peers import require
from results.answers import answer_about
from results.sources import SOURCES, image_named, read
from results.test_pages import words_on
from results.test_validity import rich_answer
from whyray.explain import method_title
from whyray.results import build_results, encode
from whyray.results.pdf import pdf_file


def document_of(answer, templates, **options):
    (result,) = build_results(answer, ["pdf"], templates, **options)
    dataset = read(encode(result.dataset))
    return dataset, dataset.EncapsulatedDocument[: dataset.EncapsulatedDocumentLength]


@pytest.fixture
def printed(tmp_path):
    """Sheets as Ghostscript renders them, at so many dots per inch."""
    require("gs", "ghostscript")

    def render(document: bytes, dpi: int) -> list[np.ndarray]:
        (tmp_path / "report.pdf").write_bytes(document)
        call = ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-sDEVICE=png16m", f"-r{dpi}", "-o"]
        done = subprocess.run(
            [*call, str(tmp_path / "sheet-%02d.png"), str(tmp_path / "report.pdf")], capture_output=True, check=True
        )
        assert b"Error" not in done.stdout + done.stderr
        assert b"Warning" not in done.stdout + done.stderr
        return [np.asarray(Image.open(path).convert("RGB")) for path in sorted(tmp_path.glob("sheet-*.png"))]

    return render


@pytest.mark.parametrize("source", SOURCES)
def test_dciodvfy_finds_no_error_in_the_printable_report(source, templates, errors_of):
    (result,) = build_results(answer_about(image_named(source)), ["pdf"], templates)
    assert errors_of(encode(result.dataset)) == []
    assert result.dataset.Modality == "DOC"
    assert result.dataset.BurnedInAnnotation == "YES"


def test_dcmtk_takes_the_document_out_as_it_was_put_in(dx_image, templates, tmp_path):
    require("dcm2pdf", "dcmtk")
    (result,) = build_results(answer_about(dx_image), ["pdf"], templates)
    (tmp_path / "report.dcm").write_bytes(encode(result.dataset))
    subprocess.run(["dcm2pdf", str(tmp_path / "report.dcm"), str(tmp_path / "report.pdf")], check=True)
    document = (tmp_path / "report.pdf").read_bytes()
    assert document == document_of(answer_about(dx_image), templates)[1]
    assert document.startswith(b"%PDF-1.4\n")
    assert document.endswith(b"%%EOF\n")


def test_printed_sheets_are_the_pictures_to_the_last_pixel(printed):
    random = np.random.default_rng(4)
    pictures = [random.integers(0, 256, shape, np.uint8) for shape in ((300, 200, 3), (170, 250, 3))]
    sheets = printed(pdf_file(pictures, title="Ärzte 放射", language="ja", sheet="a4"), 72)
    assert [sheet.shape[:2] for sheet in sheets] == [(842, 595), (595, 842)]
    for picture, sheet in zip(pictures, sheets, strict=True):
        rows, columns = np.nonzero((sheet != 255).any(axis=2))
        inside = sheet[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        enlarged = Image.fromarray(picture).resize((inside.shape[1], inside.shape[0]), Image.Resampling.NEAREST)
        # where a picture's pixel ends between two dots, either neighbour is right
        assert (np.asarray(enlarged) == inside).all(axis=2).mean() > 0.8
        assert rows.min() == pytest.approx(28, abs=1)


def test_every_sheet_names_the_patient_and_every_finding_is_on_one(monkeypatch, dx_image, templates, printed):
    made = []
    words = words_on(monkeypatch, lambda: made.append(document_of(rich_answer(dx_image), templates))).splitlines()
    sheets = printed(made[0][1], 20)
    # the overview, two maps and a notice of the first finding, notices of two more, the segment
    assert len(sheets) == 7
    header = dx_image.header
    assert sum(str(header.PatientID) in text for text in words) == len(sheets)
    assert sum(str(header.PatientName).split("=")[0].replace("^", " ") in text for text in words) == len(sheets)
    assert sum("Not for diagnostic use" in text for text in words) == len(sheets)
    for finding in rich_answer(dx_image).findings:
        assert any(text.startswith(finding.target.name) for text in words)
    for sheet in sheets:
        assert np.median(sheet) == 255, "ink on paper"


def test_a_name_is_written_in_all_groups_that_the_fonts_hold(monkeypatch, dx_image, templates):
    groups = [group.replace("^", " ") for group in str(dx_image.header.PatientName).split("=")]
    assert len(groups) == 3
    words = words_on(monkeypatch, lambda: document_of(answer_about(dx_image), templates))
    assert f"Patient: {' / '.join(groups)}  ·" in words
    latin = templates.layout.fonts.model_copy(update={"regular": ("DejaVuSans.ttf",), "bold": ("DejaVuSans-Bold.ttf",)})
    site = replace(templates, layout=templates.layout.model_copy(update={"fonts": latin}))
    words = words_on(monkeypatch, lambda: document_of(answer_about(dx_image), site))
    assert f"Patient: {groups[0]}  ·" in words


def test_what_is_withheld_is_on_no_sheet(monkeypatch, dx_image, templates):
    words = words_on(monkeypatch, lambda: document_of(rich_answer(dx_image), templates)).splitlines()
    assert any(text.startswith(f"{method_title('rise')}  ·  Not shown: ") for text in words)
    assert words.count("Original") == 3, "beside a segment and two of three maps, of which one is withheld"


def test_the_same_answer_gives_the_same_document_without_a_date(dx_image, templates):
    answer = answer_about(dx_image)
    dataset, document = document_of(answer, templates)
    assert document_of(answer, templates)[1] == document
    assert not re.search(rb"/CreationDate|/ModDate|/ID", document)
    other, _ = document_of(replace(answer, findings=answer.findings[1:]), templates)
    assert other.SOPInstanceUID != dataset.SOPInstanceUID
    assert read(encode(dataset)).SourceInstanceSequence[0].ReferencedSOPInstanceUID == dx_image.header.SOPInstanceUID


def test_american_sites_get_american_paper(dx_image, templates):
    paper = templates.layout.paper.model_copy(update={"sheet": "letter"})
    site = replace(templates, layout=templates.layout.model_copy(update={"paper": paper}))
    boxes = re.findall(rb"/MediaBox \[0 0 (\S+) (\S+)\]", document_of(answer_about(dx_image), site)[1])
    assert {tuple(sorted(map(float, box))) for box in boxes} == {(612.0, 792.0)}
    assert BytesIO(document_of(answer_about(dx_image), templates)[1]).read().count(b"/Type /Page ") == len(boxes)
