"""What PixelMed's DicomSRValidator calls an error in a Structured Report, template by template."""

from __future__ import annotations

import subprocess
import tempfile
from copy import deepcopy
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from peers import require

_LIBRARIES = Path("/usr/share/java")
_NEEDED = ("pixelmed", "slf4j-api", "slf4j-nop", "commons-codec", "vecmath")
_MEASUREMENTS = "126010"


def report_errors(file: bytes) -> list[str]:
    """The error lines; skips by name where the program is missing.

    TID 1500 lets each measurement group have a template of its own. The validator takes one for all groups of a
    container, by whether any of them has a region, and then misses that region in the others. So it is given the report
    once for each template, with the groups of that template and all that stands beside them.
    """
    report = dcmread(BytesIO(file))
    return [line for template in _templates(report) for line in _errors_of(_with_groups_of(report, template))]


def _groups(report: Dataset) -> list[Dataset]:
    measurements = [
        each
        for each in report.ContentSequence
        if each.get("ConceptNameCodeSequence") and each.ConceptNameCodeSequence[0].CodeValue == _MEASUREMENTS
    ]
    return [group for each in measurements for group in each.get("ContentSequence", [])]


def _templates(report: Dataset) -> list[str | None]:
    return sorted({_template(group) for group in _groups(report)}) or [None]


def _template(group: Dataset) -> str:
    return str(group.ContentTemplateSequence[0].TemplateIdentifier)


def _with_groups_of(report: Dataset, template: str | None) -> bytes:
    made = deepcopy(report)
    for each in made.ContentSequence:
        if each.get("ConceptNameCodeSequence") and each.ConceptNameCodeSequence[0].CodeValue == _MEASUREMENTS:
            each.ContentSequence = [group for group in each.ContentSequence if _template(group) == template]
    written = BytesIO()
    made.save_as(written, enforce_file_format=True)
    return written.getvalue()


def _errors_of(file: bytes) -> list[str]:
    java = require("java", "default-jre-headless libpixelmed-java")
    libraries = [_LIBRARIES / f"{name}.jar" for name in _NEEDED]
    if not libraries[0].is_file():
        pytest.skip("PixelMed is not installed: apt-get install libpixelmed-java")
    # its compiled templates are larger than what Java lets a style sheet have by default
    options = [f"-Djdk.xml.xpath{name}Limit=0" for name in ("ExprOp", "TotalOp", "ExprGrp")]
    # one short run of one file: no time for the compiler that optimises
    options += ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", ":".join(map(str, libraries))]
    with tempfile.NamedTemporaryFile(suffix=".dcm") as kept:
        Path(kept.name).write_bytes(file)
        call = [java, *options, "com.pixelmed.validate.DicomSRValidator", kept.name]
        found = subprocess.run(call, capture_output=True, check=False)
    lines = (found.stdout + found.stderr).decode(errors="replace").splitlines()
    assert "Found Root Template TID_1500 (MeasurementReport)" in lines, lines[:5]
    assert "Root Template Validation Complete" in lines, lines[-5:]
    return [line for line in lines if line.startswith("Error")]
