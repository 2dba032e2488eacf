"""Results of WhyRay among the files of a study: pages are pictures, and must not be explained in their turn."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import SecondaryCaptureImageStorage

from whyray.base.errors import ConfigError
from whyray.jobs.results_folder import REPORT, listed_files

RESULT = "result of WhyRay"
_READ = ["SOPInstanceUID", "Manufacturer", "ManufacturerModelName", "ContributingEquipmentSequence"]


def listed_as_results(files: Iterable[Path]) -> set[Path]:
    """Which of the files a report.json among them lists as the results of a run of `whyray explain`."""
    found = set(files)
    results: set[Path] = set()
    for report in (path for path in found if path.name == REPORT):
        try:
            results |= {report.parent / name for name in listed_files(report)}
        except (ConfigError, OSError):
            continue  # somebody else's report
    return results & found


def is_own_page(path: Path, sop_class: str) -> bool:
    """Whether a DICOM file is a page that WhyRay made: a secondary capture that names it as its equipment."""
    if not sop_class.startswith(str(SecondaryCaptureImageStorage)):
        return False
    from whyray.routing import is_own_result  # late: images that are no secondary captures need none of it

    header = dcmread(path, stop_before_pixels=True, specific_tags=list(_READ))
    return is_own_result(header, None, lambda _: False) is not None
