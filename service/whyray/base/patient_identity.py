"""Whose a stored DICOM object is: for the audit trail, and for nothing else."""

from __future__ import annotations

from typing import BinaryIO

from pydicom import dcmread


def patient_id_of(file: BinaryIO) -> str:
    """Patient ID (0010,0020) of a DICOM file (PS3.10), from its header; empty where it has none, or can't be read."""
    try:
        header = dcmread(file, stop_before_pixels=True, specific_tags=["PatientID"])
    except Exception:  # pydicom raises what it likes on nonsense; what is done with the file itself will tell
        return ""
    return str(header.get("PatientID") or "").strip()
