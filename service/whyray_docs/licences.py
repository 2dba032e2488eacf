"""What an installation consists of, and under which licences: for `make sbom`, and held by a test.

python -m whyray_docs.licences                      the list, as a Markdown table
python -m whyray_docs.licences --sbom ALL.json      of a CycloneDX document of a whole environment, the part that an
                                                    installation has
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

EXTRAS = ("cpu", "postgres")
"""What the image for machines without a GPU holds; with `gpu`, NVIDIA's own libraries come under NVIDIA's terms."""

PERMISSIVE = frozenset(
    {
        *("0BSD", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "HPND", "ISC", "MIT", "MIT-0", "MIT-CMU"),
        *("Apache-2.0", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib"),
        *("LGPL-2.1-or-later", "LGPL-3.0-only", "MPL-2.0"),
    }
)
"""By SPDX. LGPL and MPL bind who changes the library itself, not who uses it unchanged."""

_CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
_WORDS = {
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache license version 2.0": "Apache-2.0",
    "apache-2.0": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "mit": "MIT",
    "mit license": "MIT",
}
STATED = {"onnx2fx": "Apache-2.0"}
"""Where a distribution's metadata says nothing that can be told apart: what its licence file says."""


def installation(extras: tuple[str, ...] = EXTRAS) -> list[Distribution]:
    """WhyRay's requirements and theirs, as installed here, by name; WhyRay itself is not among them.

    Raises
    ------
    PackageNotFoundError
        If one is not installed.
    """
    distributions: dict[str, Distribution] = {}
    waiting: list[tuple[str, tuple[str, ...]]] = [("whyray", extras)]
    seen: set[tuple[str, tuple[str, ...]]] = set()
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        if name == "whyray":
            lines = _own(wanted)
        else:
            distributions[name] = distribution(name)
            lines = distributions[name].requires or []
        waiting += [(canonicalize_name(needed.name), tuple(sorted(needed.extras))) for needed in _needed(lines, wanted)]
    return [distributions[name] for name in sorted(distributions)]


def _own(extras: tuple[str, ...]) -> list[str]:
    """What pyproject.toml asks for now: the metadata of an editable install may be older."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    return [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]


def _needed(lines: Iterable[str], extras: tuple[str, ...]) -> Iterator[Requirement]:
    for line in lines:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


def licence_of(of: Distribution) -> str:
    """SPDX expression; empty where it can't be told."""
    name = canonicalize_name(of.metadata["Name"])
    if name in STATED:
        return STATED[name]
    expression = of.metadata.json.get("license_expression")
    if expression:
        return str(expression)
    classified = [
        _CLASSIFIERS.get(line.rsplit("::", 1)[-1].strip(), "")
        for line in of.metadata.get_all("Classifier") or ()
        if line.startswith("License :: ") and "OSI Approved" in line and line.count("::") > 1
    ]
    if classified:
        return " OR ".join(classified) if all(classified) else ""
    return _WORDS.get(str(of.metadata.json.get("license") or "").strip().casefold(), "")


def is_permissive(expression: str) -> bool:
    """Whether each licence of an SPDX expression, or one of those to choose from, is permissive."""
    if not expression:
        return False
    alternatives = re.split(r"\s+OR\s+", expression.replace("(", " ").replace(")", " "))
    # what follows WITH adds a permission
    return any(
        all(licence.split(" WITH ")[0].strip() in PERMISSIVE for licence in re.split(r"\s+AND\s+", alternative))
        for alternative in alternatives
    )


def table() -> str:
    """The list, as a Markdown table."""
    rows = [
        f"| {distribution.metadata['Name']} | {distribution.version} | {licence_of(distribution)} |"
        for distribution in installation()
    ]
    return "\n".join(["| package | version | licence |", "| --- | --- | --- |", *rows]) + "\n"


def part_of(document: dict[str, object]) -> dict[str, object]:
    """Of a CycloneDX document (JSON) of an environment, the components of an installation and what they depend on."""
    names = {canonicalize_name(distribution.metadata["Name"]) for distribution in installation()}
    components = document.get("components")
    kept = (
        [component for component in components if canonicalize_name(component["name"]) in names]
        if isinstance(components, list)
        else []
    )
    root = document.get("metadata", {})
    references = {component["bom-ref"] for component in kept}
    if isinstance(root, dict) and isinstance(root.get("component"), dict):
        references.add(root["component"].get("bom-ref"))
    dependencies = document.get("dependencies")
    links = [
        {
            "ref": dependency["ref"],
            "dependsOn": [other for other in dependency.get("dependsOn", ()) if other in references],
        }
        for dependency in (dependencies if isinstance(dependencies, list) else ())
        if dependency["ref"] in references
    ]
    return {**document, "components": kept, "dependencies": links}


def main(arguments: list[str]) -> None:
    """Print the list, or the part of an SBOM."""
    if not arguments:
        print(table(), end="")
        return
    document = json.loads(Path(arguments[1]).read_text("utf-8"))
    print(json.dumps(part_of(document), indent=1, sort_keys=True))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except PackageNotFoundError as missing:
        sys.exit(f"{missing.name} is not installed: make the virtual environment first")
