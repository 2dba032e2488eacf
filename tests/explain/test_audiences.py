"""Groups of methods: what stands behind one word in a route, and which map proved right for a package."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from local_evidence import evidence_package, loaded
from whyray.config.routes import EXPLANATION_GROUPS
from whyray.explain import AUDIENCES, GROUPS, expanded, method_named, methods, preferred_map, why_not
from whyray.inference import Model, load_package
from whyray.packages import find_package
from whyray.packages.localisation_report import Figure, Lead, MapFigures, MethodLocalisation, TargetHits


def figures(hits: int, boxes: int, auprc: float = 0.3) -> MapFigures:
    share = Figure(value=hits / boxes, low=0, high=1)
    return MapFigures(hits=hits, hit_rate=share, iou=share, auprc=Figure(value=auprc, low=0, high=1))


def onboarded(folder: Path, hits: dict[str, int], *, boxes: int = 58, complete: bool = True, **auprc: float) -> Model:
    """The package with a report by which its methods hit so many boxes, and the centre of the image 28."""
    entries = {
        name: MethodLocalisation(
            hits=count,
            boxes=boxes,
            centre_prior_hits=28,
            images=boxes,
            patients=boxes,
            complete=complete or name != "occlusion",
            parameters={"of": "occlusion"} if name == "anatomy-constrained" else {},
            maps=figures(count, boxes, auprc.get(name.replace("-", "_"), 0.3)),
            baselines={"centre": figures(28, boxes)},
            ahead={"hit rate": Lead(baseline="centre", difference=Figure(value=0, low=0, high=0))},
            targets={"bright": TargetHits(boxes=boxes, hits=count, centre_prior_hits=28)},
        )
        for name, count in hits.items()
    }
    report = {
        "digest": loaded(folder).package.digest,
        "tier": "T1",
        "methods": {name: {"localisation": entry.model_dump(mode="json")} for name, entry in entries.items()},
    }
    (folder / "onboarding").mkdir()
    (folder / "onboarding" / "report.json").write_text(json.dumps(report))
    return loaded(folder)


def test_the_configuration_knows_the_same_groups_as_the_methods():
    assert set(EXPLANATION_GROUPS) == set(GROUPS)


def test_all_stands_for_every_method_that_the_package_can_give_and_for_none_of_research_only():
    model = load_package("cxr-findings@1")
    expansion = expanded({"all": {}}, model)
    able = {method.name for method in methods() if method.deliverable and why_not(method, model) is None}
    assert set(expansion) == able
    assert "guided-backprop" not in expansion


def test_a_method_wished_for_by_name_keeps_its_parameters_beside_a_group():
    expansion = expanded({"radiologist": {}, "grad-cam": {"layer": None}}, load_package("cxr-findings@1"))
    assert expansion["grad-cam"] == {"layer": None}
    assert list(expansion).count("grad-cam") == 1


def test_every_member_of_a_group_is_a_method_that_may_be_delivered():
    for members in AUDIENCES.values():
        assert all(method_named(name).deliverable for name in members)


def test_a_radiologist_gets_the_map_that_hit_most_boxes_and_is_told_so(tmp_path: Path) -> None:
    model = onboarded(evidence_package(tmp_path), {"local-evidence": 30, "grad-cam": 5, "occlusion": 34})
    preferred = preferred_map(model)
    assert preferred.method == "occlusion"
    assert preferred.because == (
        "occlusion did best of 3 methods: maps of this package hit 34 of 58 boxed findings; "
        "the centre of the image hits 28"
    )
    assert next(iter(expanded({"radiologist": {}}, model))) == "occlusion"
    assert "grad-cam" not in expanded({"radiologist": {}}, model)


@pytest.mark.parametrize(("better", "worse"), [("local_evidence", "occlusion"), ("occlusion", "local_evidence")])
def test_of_equal_hits_the_larger_auprc_decides(tmp_path: Path, better: str, worse: str) -> None:
    hits = {"local-evidence": 30, "occlusion": 30}
    model = onboarded(evidence_package(tmp_path), hits, **{better: 0.5, worse: 0.4})
    assert preferred_map(model).method == better.replace("_", "-")


def test_a_map_that_hits_no_more_than_the_centre_is_said_to_be_no_better(tmp_path: Path) -> None:
    model = onboarded(evidence_package(tmp_path), {"local-evidence": 28, "occlusion": 1})
    assert preferred_map(model).because.endswith(
        "it has not shown that it points any better than a map that knows nothing"
    )


def test_what_was_measured_on_a_part_of_the_boxes_or_can_not_be_given_is_not_preferred(tmp_path: Path) -> None:
    hits = {"local-evidence": 30, "occlusion": 50, "anatomy-constrained": 55}
    model = onboarded(evidence_package(tmp_path), hits, complete=False)
    assert preferred_map(model).method == "local-evidence"


def test_few_boxes_prefer_nothing_and_the_packages_own_evidence_comes_first(tmp_path: Path) -> None:
    model = onboarded(evidence_package(tmp_path), {"occlusion": 19, "local-evidence": 2}, boxes=19)
    preferred = preferred_map(model)
    assert preferred.method == "local-evidence"
    assert preferred.because.startswith("19 boxed findings, fewer than 20, are too few to tell")


def test_where_nothing_was_measured_that_is_said_and_evidence_comes_before_grad_cam(tmp_path: Path) -> None:
    own = preferred_map(loaded(evidence_package(tmp_path)))
    assert own.method == "local-evidence"
    assert own.because.startswith("nothing was measured against boxes at onboarding")
    never_onboarded = shutil.copytree(
        find_package("cxr-abnormal"), tmp_path / "cxr-abnormal", ignore=shutil.ignore_patterns("onboarding")
    )
    usual = preferred_map(load_package(never_onboarded))
    assert usual.method == "grad-cam"
    assert "nobody knows whether this map points at the right place" in usual.because


def test_a_report_of_an_older_version_is_told_and_not_believed(tmp_path: Path) -> None:
    model = onboarded(evidence_package(tmp_path), {"occlusion": 40})
    report = json.loads(model.package.report.read_text())
    report["methods"]["occlusion"]["localisation"] = {"pointing game": {}}
    model.package.report.write_text(json.dumps(report))
    preferred = preferred_map(loaded(model.package.folder))
    assert preferred.method == "local-evidence"
    assert "Onboard" not in preferred.because
    assert "localisation of occlusion" in preferred.because


def test_what_is_told_by_a_map_is_told_by_the_one_that_the_reader_sees() -> None:
    expansion = expanded({"radiologist": {}}, load_package("cxr-findings"))
    assert expansion["region-shares"] == {"of": next(iter(expansion))}
    assert list(expansion) == sorted(expansion, key=lambda name: method_named(name).stage)


def test_the_preferred_map_is_named_without_a_proof_of_gradients_that_it_does_not_need(tmp_path: Path) -> None:
    model = loaded(evidence_package(tmp_path))
    assert expanded({"preferred": {}}, model) == {"local-evidence": {}}
    assert "twin_or_reason" not in vars(model.gradients), "it takes minutes for a large network"
