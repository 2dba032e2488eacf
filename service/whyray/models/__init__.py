"""Model packages: read, found, checked, loaded and run."""

from whyray.models.check import Finding, check_package
from whyray.models.install import copy_package, install_package
from whyray.models.manifest import InputSpec, Manifest, OutputSpec, TargetSpec
from whyray.models.model import Model, Run, load_package, target_spec
from whyray.models.package import Package, package_digest, read_manifest, read_package
from whyray.models.registry import BUNDLED, PackageEntry, find_package, list_packages
from whyray.models.session import RuntimeOptions

__all__ = [
    "BUNDLED",
    "Finding",
    "InputSpec",
    "Manifest",
    "Model",
    "OutputSpec",
    "Package",
    "PackageEntry",
    "Run",
    "RuntimeOptions",
    "TargetSpec",
    "check_package",
    "copy_package",
    "find_package",
    "install_package",
    "list_packages",
    "load_package",
    "package_digest",
    "read_manifest",
    "read_package",
    "target_spec",
]
