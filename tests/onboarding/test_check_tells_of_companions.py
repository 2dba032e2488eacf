"""`whyray package check` on what a package lacks beside it: what that means for readers, and how it is added."""

from __future__ import annotations

import shutil
from pathlib import Path

from inference import nets
from whyray.onboarding import checked_package


def package(folder: Path, companions: str = "") -> Path:
    place = folder / "plain" / "1.0.0"
    shutil.copytree(nets.packed("plain"), place)
    with (place / "model.yaml").open("a") as manifest:
        manifest.write(f"\n{companions}\n")
    return place


def test_a_package_that_names_no_companion_is_in_order_and_told_what_that_means(tmp_path: Path) -> None:
    checked = checked_package(package(tmp_path))
    assert [finding.severity for finding in checked.findings] == ["warning"]  # that it is not onboarded
    words = "\n".join(checked.beside)
    for told in (
        "without a companion scope: nothing checks whether an image is one that the package was made for",
        "`companions: {scope: cxr-scope@1}`",
        "`whyray package index NAME --images DIR`",
        "without a companion anatomy: nothing checks whether a map lies where such a finding can lie",
        "`companions: {autoencoder: cxr-autoencoder@1}`",
    ):
        assert told in words


def test_a_scope_that_is_named_and_not_there_is_an_error_and_another_companion_a_warning(tmp_path: Path) -> None:
    checked = checked_package(package(tmp_path, "companions: {scope: nobody@1, autoencoder: nobody@2, anatomy: study}"))
    lacking = {finding.severity: finding for finding in checked.findings if "companion" in finding.message}
    assert "no statement is made about any image" in lacking["error"].message
    assert "latent-shift is refused" in lacking["warning"].message
    assert "--folder" in lacking["error"].advice
    assert not checked.beside


def test_a_companion_is_looked_for_in_the_folders_that_are_named(tmp_path: Path) -> None:
    beside = tmp_path / "beside" / "other" / "1.0.0"
    shutil.copytree(nets.packed("plain"), beside)
    (beside / "model.yaml").write_text((beside / "model.yaml").read_text().replace("name: plain", "name: other", 1))
    folder = package(tmp_path, "companions: {scope: other@1}")
    assert any("other@1" in finding.message for finding in checked_package(folder).findings)
    assert not any(
        "other@1" in finding.message for finding in checked_package(folder, search=[tmp_path / "beside"]).findings
    )
