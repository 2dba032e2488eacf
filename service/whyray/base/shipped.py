"""Where the templates that came with WhyRay lie."""

from __future__ import annotations

from pathlib import Path

from whyray.base.errors import ConfigError


def shipped_templates() -> Path:
    """The folder inside an installed wheel, or the one beside `service/` in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_templates", package.parents[1] / "dicom_templates"):
        if folder.is_dir():
            return folder
    raise ConfigError("the shipped folder of templates is missing", advice="Install WhyRay again.")
