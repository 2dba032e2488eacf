"""normal-contrast: what a map shows beyond what it shows in images without findings."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from local_evidence import CELL, SIZE, evidence_package, loaded, spot
from whyray.base.errors import ArtefactMissing, ConfigError, PackageError
from whyray.explain import Heatmap, explain, method_named, preferred_map, why_not
from whyray.inference import AxisPlacement, MapPlacement, Model
from whyray.inference.network import Network
from whyray.onboarding import OnboardingImage, onboard
from whyray.onboarding.normal_maps import keep_normal_maps
from whyray.packages import read_artefact, write_artefact

DAY = date(2026, 1, 2)
NORMALS = 20


def film(seed: int, place: tuple[int, int] | None = None) -> np.ndarray:
    """A film with a bright marker in its upper left corner, as all have, and perhaps a fainter spot."""
    x = spot(0, 0, seed=seed)
    if place is not None:
        row, column = (slice(index * CELL, (index + 1) * CELL) for index in place)
        x[..., row, column] = 0.7
    return x


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    model = loaded(evidence_package(tmp_path_factory.mktemp("packages")))
    normals = [film(seed) for seed in range(NORMALS)]
    assert keep_normal_maps(model, normals, [method_named("local-evidence")], DAY) == ("local-evidence",)
    return model


def peak(model: Model, x: np.ndarray, method: str) -> tuple[int, int]:
    heatmap = explain(model, x, target="bright", method=method)
    assert isinstance(heatmap, Heatmap)
    row, column = np.unravel_index(heatmap.values.argmax(), (SIZE, SIZE))
    return int(row) // CELL, int(column) // CELL


@pytest.mark.parametrize("place", [(3, 4), (7, 7), (1, 6)])
def test_a_marker_that_all_films_have_is_taken_out_and_the_spot_stays(model: Model, place: tuple[int, int]) -> None:
    x = film(99, place)
    assert peak(model, x, "local-evidence") == (0, 0)
    assert peak(model, x, "normal-contrast") == place


def test_the_map_is_in_spreads_of_normal_maps_and_says_what_it_was_made_of(model: Model) -> None:
    usual = [explain(model, film(seed), target="bright", method="normal-contrast") for seed in range(5)]
    assert all(isinstance(heatmap, Heatmap) and float(np.abs(heatmap.values).mean()) < 2 for heatmap in usual)
    heatmap = explain(model, film(99, (3, 4)), target="bright", method="normal-contrast")
    assert isinstance(heatmap, Heatmap)
    assert heatmap.values.max() > 5
    assert (heatmap.parameters["of"], heatmap.evidence["references"]) == ("local-evidence", NORMALS)
    assert heatmap.unit == "standard deviations of normal maps"


def test_the_spread_is_that_of_the_normal_maps(model: Model) -> None:
    from whyray.explain import resampled
    from whyray.packages import require_artefact

    artefact = require_artefact(model, "normal-maps", method="test", advice="")
    maps = [explain(model, film(seed), target="dark", method="local-evidence").values for seed in range(NORMALS)]
    coarse = resampled(np.stack(maps), artefact.arrays["local-evidence mean"].shape[1:])
    assert artefact.arrays["local-evidence mean"][1] == pytest.approx(coarse.mean(axis=0), abs=1e-5)
    assert artefact.arrays["local-evidence spread"][1] == pytest.approx(coarse.std(axis=0, ddof=1), abs=1e-5)


def test_maps_that_the_references_do_not_have_are_refused_by_name(model: Model) -> None:
    with pytest.raises(ConfigError, match="no maps by occlusion, only by local-evidence"):
        explain(model, film(1), target="bright", method="normal-contrast", of="occlusion")


def test_few_normal_images_make_no_references_and_the_method_says_what_it_lacks(tmp_path: Path) -> None:
    model = loaded(evidence_package(tmp_path))
    normals = [film(seed) for seed in range(NORMALS - 1)]
    assert keep_normal_maps(model, normals, [method_named("local-evidence")], DAY) == ()
    refusal = why_not(method_named("normal-contrast"), model)
    assert isinstance(refusal, ArtefactMissing)
    assert "--labels" in str(refusal.advice)


def test_references_of_another_graph_are_refused(model: Model, tmp_path: Path) -> None:
    other = evidence_package(tmp_path, missing=1e-6)
    (other / "onboarding").mkdir()
    artefact = model.package.folder / "onboarding" / "normal-maps.npz"
    (other / "onboarding" / "normal-maps.npz").write_bytes(artefact.read_bytes())
    with pytest.raises(PackageError, match="made with another graph"):
        explain(loaded(other), film(1), target="bright", method="normal-contrast")


def _with_places(model: Model, tmp_path: Path, places: dict[str, object] | None) -> Model:
    """The package with references that say this of where their maps lay."""
    folder = tmp_path / "planted" / "1.0.0"
    shutil.copytree(model.package.folder, folder)
    path = folder / "onboarding" / "normal-maps.npz"
    artefact = read_artefact(path)
    details = {key: value for key, value in artefact.facts.details.items() if key != "places"}
    if places is not None:
        details["places"] = places
    write_artefact(path, artefact.facts.model_copy(update={"details": details}), artefact.arrays)
    return loaded(folder)


def _moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps half a cell before their image's edge, as strided windows that pad both sides have them."""
    lies = MapPlacement((AxisPlacement(-CELL / SIZE / 2, CELL / SIZE),) * 2)
    monkeypatch.setattr(Network, "placement", lambda *_: lies)


@pytest.mark.parametrize("places", [None, {"local-evidence": {"layer": "evidence", "axes": [None, None]}}])
def test_references_of_maps_that_lay_elsewhere_are_refused(
    model: Model, places: dict[str, object] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = _with_places(model, tmp_path, places)
    assert explain(old, film(1), target="bright", method="normal-contrast")  # they lie edge to edge, as before
    _moved(monkeypatch)
    old = loaded(old.package.folder)
    with pytest.raises(PackageError, match="made with maps at another place") as refused:
        explain(old, film(1), target="bright", method="normal-contrast")
    assert "whyray package onboard" in refused.value.advice


def test_references_say_where_their_maps_lay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _moved(monkeypatch)
    model = loaded(evidence_package(tmp_path))
    keep_normal_maps(model, [film(seed) for seed in range(NORMALS)], [method_named("local-evidence")], DAY)
    assert explain(model, film(1), target="bright", method="normal-contrast")
    places = read_artefact(model.package.folder / "onboarding" / "normal-maps.npz").facts.details["places"]
    at = [-CELL / SIZE / 2, CELL / SIZE]
    assert places == {"local-evidence": {"layer": "evidence", "axes": [at, at]}}
    monkeypatch.undo()
    with pytest.raises(PackageError, match="made with maps at another place"):
        explain(loaded(model.package.folder), film(1), target="bright", method="normal-contrast")


def test_onboarding_makes_the_references_finds_that_the_contrast_hits_more_and_prefers_it(tmp_path: Path) -> None:
    model = loaded(evidence_package(tmp_path))
    images = [OnboardingImage(film(seed), labels={"bright": False, "dark": False}) for seed in range(NORMALS)]
    for seed in range(20):
        place = (2 + seed % 5, 1 + seed % 7)
        box = np.zeros((SIZE, SIZE), bool)
        box[tuple(slice(index * CELL, (index + 1) * CELL) for index in place)] = True
        images.append(OnboardingImage(film(100 + seed, place), {"bright": box}, {"bright": True}))
    only = ["local-evidence", "normal-contrast", "occlusion"]
    report = onboard(model, images, only=only, explained=1, made=DAY, this_machine=False)
    assert report["normal maps"] == ["local-evidence"]  # occlusion is too dear for every study
    agreed = report["agreement"]
    assert agreed["methods"] == ["local-evidence", "normal-contrast", "occlusion"]
    assert 0 <= agreed["low"] <= agreed["value"] <= agreed["high"] <= 1
    hits = {name: report["methods"][name]["localisation"]["hits"] for name in only}
    assert hits["local-evidence"] == 0
    assert hits["normal-contrast"] == 20
    preferred = preferred_map(loaded(model.package.folder))
    assert (preferred.method, preferred.of) == ("normal-contrast", "local-evidence")
    assert "maps of this package hit 20 of 20 boxed findings" in preferred.because
