"""docs/conformance-statement.md says what the code does."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import pytest
from pydicom import Dataset

from results.answers import answer_about
from results.sources import image_named
from results.test_typed_explanations import typed_answer
from whyray.intake import refusals
from whyray.results import EVERY_KIND, build_results, load_templates
from whyray_docs.conformance import network_tables, object_tables, refused, storage_classes, with_tables

PAGE = Path(__file__).resolve().parents[1] / "docs" / "conformance-statement.md"


@pytest.fixture(scope="module")
def made() -> dict[str, list[Dataset]]:
    """Results of every kind, of a radiograph and of a CT series, the pages of this one in both ways."""
    by_kind: dict[str, list[Dataset]] = {kind: [] for kind in EVERY_KIND}
    for name in ("DX, Japanese", "tilted CT, Japanese"):
        for result in build_results(answer_about(image_named(name)), EVERY_KIND, load_templates()):
            by_kind[result.kind].append(result.dataset)
    by_kind["cine"] += [
        result.dataset for result in build_results(typed_answer("latent-shift"), ["cine"], load_templates())
    ]
    shipped = load_templates()
    volume = shipped.layout.volume.model_copy(update={"pages": "multiframe"})
    templates = dataclasses.replace(shipped, layout=shipped.layout.model_copy(update={"volume": volume}))
    _, pages = build_results(answer_about(image_named("tilted CT, Japanese")), ["sc"], templates)
    by_kind["sc"].append(pages.dataset)
    for_segments = shipped.layout.segmentation.model_copy(update={"fractional": True, "label_maps": True})
    other = dataclasses.replace(shipped, layout=shipped.layout.model_copy(update={"segmentation": for_segments}))
    for segments in build_results(answer_about(image_named("tilted CT, Japanese")), ["seg"], other):
        by_kind["seg"].append(segments.dataset)
    return by_kind


def test_the_tables_of_the_statement_are_those_of_the_code(made: dict[str, list[Dataset]], tmp_path: Path) -> None:
    page = PAGE.read_text("utf-8")
    right = with_tables(page, load_templates(), made)
    (tmp_path / PAGE.name).write_text(right, "utf-8")
    assert page == right, f"if the code is right: cp {tmp_path / PAGE.name} {PAGE}"


def test_every_kind_of_result_has_its_line(made: dict[str, list[Dataset]]) -> None:
    table = object_tables(load_templates(), made)["created"]
    assert all(f"| `{kind}` |" in table for kind in EVERY_KIND)
    assert "TID 1410, TID 1411, TID 1500" in table


def test_every_refusal_of_intake_has_its_line() -> None:
    makers = [
        name
        for name, function in inspect.getmembers(refusals, inspect.isfunction)
        if inspect.signature(function).return_annotation == "Refused"
    ]
    assert len(makers) == len(refused()) == len({refusal.kind for refusal in refused()})
    table = network_tables([])["store-statuses"]
    assert all(f"| 0x{refusal.status:04X} |" in table for refusal in refused())


def test_classes_that_are_no_storage_are_not_in_the_table() -> None:
    classes = storage_classes()
    assert "1.2.840.10008.5.1.4.1.1.2" in classes
    assert len(classes) > 150
    for other in ("1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.34.6.1"):
        assert other not in classes


def test_a_page_that_misses_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="store-statuses"):
        with_tables("# no table", load_templates(), {})
