"""What PixelMed's DicomSRValidator calls an error in a Structured Report, template by template."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from copy import deepcopy
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from peers import require

_LIBRARIES = Path("/usr/share/java")
_NEEDED = ("pixelmed", "slf4j-api", "slf4j-nop", "commons-codec", "vecmath")
_MEASUREMENTS = "126010"


def report_errors(files: Sequence[bytes]) -> list[list[str]]:
    """The error lines about each report; skips by name where the program is missing.

    TID 1500 lets each measurement group have a template of its own. The validator takes one for all groups of a
    container, by whether any of them has a region, and then misses that region in the others. So it is given a report
    once for each template, with the groups of that template and all that stands beside them.
    """
    reports = [dcmread(BytesIO(file)) for file in files]
    parts = [[_with_groups_of(report, template) for template in _templates(report)] for report in reports]
    said = iter(_said_of([part for one in parts for part in one]))
    return [[line for _ in one for line in next(said)] for one in parts]


def _groups(report: Dataset) -> list[Dataset]:
    measurements = [
        container
        for container in report.ContentSequence
        if container.get("ConceptNameCodeSequence") and container.ConceptNameCodeSequence[0].CodeValue == _MEASUREMENTS
    ]
    return [group for container in measurements for group in container.get("ContentSequence", [])]


def _templates(report: Dataset) -> list[str | None]:
    return sorted({_template(group) for group in _groups(report)}) or [None]


def _template(group: Dataset) -> str:
    return str(group.ContentTemplateSequence[0].TemplateIdentifier)


def _with_groups_of(report: Dataset, template: str | None) -> bytes:
    made = deepcopy(report)
    for container in made.ContentSequence:
        if container.get("ConceptNameCodeSequence") and container.ConceptNameCodeSequence[0].CodeValue == _MEASUREMENTS:
            container.ContentSequence = [group for group in container.ContentSequence if _template(group) == template]
    written = BytesIO()
    made.save_as(written, enforce_file_format=True)
    return written.getvalue()


def _said_of(files: Sequence[bytes]) -> list[list[str]]:
    """The error lines about each file, of one run: the validator takes seconds to start and compile its templates."""
    require("java", "default-jre-headless libpixelmed-java")
    if not (_LIBRARIES / "pixelmed.jar").is_file():
        pytest.skip("PixelMed is not installed: apt-get install libpixelmed-java")
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.dcm" for number in range(len(files))]
        for path, file in zip(paths, files, strict=True):
            path.write_bytes(file)
        call = [sys.executable, __file__, *map(str, paths)]
        made = subprocess.run(call, capture_output=True, check=False, text=True)
    assert made.returncode == 0, made.stderr[-2000:]
    said = json.loads(made.stdout.splitlines()[-1])
    for words in said:
        lines = words.splitlines()
        assert "Found Root Template TID_1500 (MeasurementReport)" in lines, lines[:5]
        assert "Root Template Validation Complete" in lines, lines[-5:]
    return [[line for line in words.splitlines() if line.startswith("Error")] for words in said]


def _judge(paths: Sequence[str]) -> None:
    import jpype

    # its compiled templates are larger than what Java lets a style sheet have by default
    options = [f"-Djdk.xml.xpath{name}Limit=0" for name in ("ExprOp", "TotalOp", "ExprGrp")]
    jpype.startJVM(*options, "-XX:+UseSerialGC", classpath=[str(_LIBRARIES / f"{name}.jar") for name in _NEEDED])
    validator = jpype.JClass("com.pixelmed.validate.DicomSRValidator")()
    said = [str(validator.validate(path)) for path in paths]
    sys.stdout.write("\n" + json.dumps(said) + "\n")


if __name__ == "__main__":
    _judge(sys.argv[1:])
