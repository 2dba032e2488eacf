"""Model packages: read, found, checked, loaded and run."""

from whyray.models.artefacts import (
    Artefact,
    ArtefactFacts,
    artefact_paths,
    find_artefact,
    graph_digest,
    read_artefact,
    require_artefact,
    write_artefact,
)
from whyray.models.autoencoder import Autoencoder
from whyray.models.captioner import Caption, Captioner
from whyray.models.check import Finding, PackageCheck, check_package, checked_package
from whyray.models.install import copy_package, install_package
from whyray.models.manifest import (
    CaptionSpec,
    CodedConcept,
    CompanionRole,
    ConceptSpec,
    ConceptsSpec,
    InputSpec,
    Manifest,
    OutputSpec,
    PrototypesSpec,
    TargetSpec,
)
from whyray.models.model import Model, Run, load_package, target_spec
from whyray.models.package import Package, package_digest, read_manifest, read_package
from whyray.models.registry import BUNDLED, PackageEntry, find_package, list_packages
from whyray.models.session import RuntimeOptions
from whyray.models.taps import head_from, tapped

__all__ = [
    "BUNDLED",
    "Artefact",
    "ArtefactFacts",
    "Autoencoder",
    "Caption",
    "CaptionSpec",
    "Captioner",
    "CodedConcept",
    "CompanionRole",
    "ConceptSpec",
    "ConceptsSpec",
    "Finding",
    "InputSpec",
    "Manifest",
    "Model",
    "OutputSpec",
    "Package",
    "PackageCheck",
    "PackageEntry",
    "PrototypesSpec",
    "Run",
    "RuntimeOptions",
    "TargetSpec",
    "artefact_paths",
    "check_package",
    "checked_package",
    "copy_package",
    "find_artefact",
    "find_package",
    "graph_digest",
    "head_from",
    "install_package",
    "list_packages",
    "load_package",
    "package_digest",
    "read_artefact",
    "read_manifest",
    "read_package",
    "require_artefact",
    "tapped",
    "target_spec",
    "write_artefact",
]
