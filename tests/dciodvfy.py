"""What dciodvfy (dicom3tools) calls an error in a DICOM object."""

from __future__ import annotations

import io
import subprocess
import tempfile
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from peers import require


def errors_of(file: bytes) -> list[str]:
    """The error lines; skips by name where the program is missing.

    It reads no deflated data sets (Debian's of 2022), so these are inflated first.
    """
    program = require("dciodvfy", "dicom3tools")
    dataset = dcmread(io.BytesIO(file))
    if dataset.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        inflated = io.BytesIO()
        dataset.save_as(inflated, enforce_file_format=True)
        file = inflated.getvalue()
    with tempfile.NamedTemporaryFile(suffix=".dcm") as kept:
        Path(kept.name).write_bytes(file)
        completed = subprocess.run([program, kept.name], capture_output=True, check=False)
    lines = (completed.stdout + completed.stderr).decode(errors="replace").splitlines()
    assert lines, "dciodvfy says at least which IOD it took the object for"
    return [line for line in lines if line.startswith("Error")]
