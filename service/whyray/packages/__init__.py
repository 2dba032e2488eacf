"""Model packages: the manifest, where packages are found, their artefacts, and how one is installed."""

from whyray.packages.artefacts import (
    Artefact,
    ArtefactFacts,
    artefact_paths,
    find_artefact,
    graph_digest,
    read_artefact,
    require_artefact,
    write_artefact,
)
from whyray.packages.install import copy_package, install_package
from whyray.packages.manifest import (
    CaptionSpec,
    CompanionRole,
    ConceptSpec,
    ConceptsSpec,
    EvidenceSpec,
    InputSpec,
    Manifest,
    OutputSpec,
    PrototypesSpec,
    ScopeSpec,
    TargetSpec,
)
from whyray.packages.package import Package, package_digest, read_manifest, read_package
from whyray.packages.registry import BUNDLED, PackageEntry, find_package, list_packages

__all__ = [
    "BUNDLED",
    "Artefact",
    "ArtefactFacts",
    "CaptionSpec",
    "CompanionRole",
    "ConceptSpec",
    "ConceptsSpec",
    "EvidenceSpec",
    "InputSpec",
    "Manifest",
    "OutputSpec",
    "Package",
    "PackageEntry",
    "PrototypesSpec",
    "ScopeSpec",
    "TargetSpec",
    "artefact_paths",
    "copy_package",
    "find_artefact",
    "find_package",
    "graph_digest",
    "install_package",
    "list_packages",
    "package_digest",
    "read_artefact",
    "read_manifest",
    "read_package",
    "require_artefact",
    "write_artefact",
]
