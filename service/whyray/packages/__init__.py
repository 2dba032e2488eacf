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
from whyray.packages.draft import draft_manifest
from whyray.packages.install import copy_package, install_package
from whyray.packages.manifest import (
    WITHOUT_TARGETS,
    CaptionSpec,
    CompanionRole,
    ConceptSpec,
    ConceptsSpec,
    EvidenceSpec,
    InputSpec,
    Intensity,
    Manifest,
    OtherInput,
    OutputSpec,
    PrototypesSpec,
    ScopeSpec,
    TargetSpec,
)
from whyray.packages.node_order import put_in_order
from whyray.packages.package import MANIFEST, ONBOARDING, Package, package_digest, read_manifest, read_package
from whyray.packages.prior_shift import at_prevalence, shift_between
from whyray.packages.registry import BUNDLED, PackageEntry, find_package, list_packages
from whyray.packages.subgraphs import bodies, graphs, reads, rename_reads, tensors, with_dense_constants

__all__ = [
    "BUNDLED",
    "MANIFEST",
    "ONBOARDING",
    "WITHOUT_TARGETS",
    "Artefact",
    "ArtefactFacts",
    "CaptionSpec",
    "CompanionRole",
    "ConceptSpec",
    "ConceptsSpec",
    "EvidenceSpec",
    "InputSpec",
    "Intensity",
    "Manifest",
    "OtherInput",
    "OutputSpec",
    "Package",
    "PackageEntry",
    "PrototypesSpec",
    "ScopeSpec",
    "TargetSpec",
    "artefact_paths",
    "at_prevalence",
    "bodies",
    "copy_package",
    "draft_manifest",
    "find_artefact",
    "find_package",
    "graph_digest",
    "graphs",
    "install_package",
    "list_packages",
    "package_digest",
    "put_in_order",
    "read_artefact",
    "read_manifest",
    "read_package",
    "reads",
    "rename_reads",
    "require_artefact",
    "shift_between",
    "tensors",
    "with_dense_constants",
    "write_artefact",
]
