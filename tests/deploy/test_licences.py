"""What an installation consists of: permissive licences alone, and a bill of materials that names all of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from whyray_docs.licences import installation, is_permissive, licence_of, part_of, table

ROOT = Path(__file__).parents[2]


def test_every_package_of_an_installation_has_a_permissive_licence() -> None:
    licences = {distribution.metadata["Name"]: licence_of(distribution) for distribution in installation()}
    assert {"torch", "SQLAlchemy", "psycopg", "cryptography", "onnxruntime"} <= set(licences)
    assert {name: licence for name, licence in licences.items() if not is_permissive(licence)} == {}


@pytest.mark.parametrize(
    ("expression", "permissive"),
    [
        ("MIT", True),
        ("GPL-3.0-or-later OR MIT", True),
        ("(Apache-2.0 OR BSD-3-Clause)", True),
        ("Apache-2.0 WITH LLVM-exception AND MIT", True),
        ("MIT AND GPL-3.0-only", False),
        ("AGPL-3.0-only", False),
        ("", False),
    ],
)
def test_an_expression_is_permissive_if_all_of_one_choice_is(expression: str, permissive: bool) -> None:
    assert is_permissive(expression) is permissive


def test_every_package_of_an_installation_is_pinned() -> None:
    pinned = {
        canonicalize_name(line.split("==")[0]): line.split("==")[1]
        for line in (ROOT / "deploy" / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    installed = {
        canonicalize_name(distribution.metadata["Name"]): distribution.version.split("+")[0]
        for distribution in installation()
    }
    assert {name: version for name, version in installed.items() if pinned.get(name) != version} == {}


def test_the_bill_of_materials_names_each_package_with_its_version_twice_the_same(tmp_path: Path) -> None:
    # `make sbom` validates what it writes against the schema, which takes 23 s
    makes = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--no-validate"]
    makes += ["--output-format", "JSON", "--pyproject", str(ROOT / "pyproject.toml")]
    whole = tmp_path / "environment.cdx.json"
    subprocess.run([*makes, "--output-file", str(whole), sys.executable], check=True, capture_output=True)
    document = part_of(json.loads(whole.read_text()))
    assert document["bomFormat"] == "CycloneDX"
    named = {canonicalize_name(component["name"]): component["version"] for component in document["components"]}  # type: ignore[attr-defined]
    assert named == {
        canonicalize_name(distribution.metadata["Name"]): distribution.version for distribution in installation()
    }
    assert "pytest" not in named
    assert "timestamp" not in document["metadata"]  # type: ignore[operator]
    references = {component["bom-ref"] for component in document["components"]}  # type: ignore[attr-defined]
    linked = [other for dependency in document["dependencies"] for other in dependency["dependsOn"]]  # type: ignore[attr-defined]
    assert set(linked) <= references | {document["metadata"]["component"]["bom-ref"]}  # type: ignore[index]
    listed = table()
    assert all(
        f"| {distribution.metadata['Name']} | {distribution.version} |" in listed for distribution in installation()
    )
