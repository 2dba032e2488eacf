from __future__ import annotations

from pathlib import Path

from pydicom import dcmread

from whyray.demo.phantom import Scan
from whyray.demo.studies import demo_studies
from whyray.routing import is_own_result


def test_no_study_of_the_demo_is_taken_for_a_result_of_whyray(tmp_path: Path) -> None:
    for study in demo_studies(tmp_path, scan=Scan(slices=2, size=32)):
        for path in study.paths:
            assert is_own_result(dcmread(path, stop_before_pixels=True), None, lambda _: False) is None
