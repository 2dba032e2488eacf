"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[
    Path,
    typer.Option("--config", "-c", help="The configuration file.", envvar="WHYRAY_CONFIG", show_default=True),
]
DEFAULT_CONFIG = Path("whyray.yaml")
