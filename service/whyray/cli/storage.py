"""`whyray storage`: what lies there, encrypted."""

from __future__ import annotations

import typer

from whyray.cli.options import DEFAULT_CONFIG, ConfigFile

app = typer.Typer(no_args_is_help=True, help="Encryption at rest of stored objects.")


@app.callback()
def _storage() -> None:
    """A group of one command for now."""


@app.command()
def encrypt(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Seal everything that is stored with the current key: what is plain still, and what a former key sealed.

    The service may run meanwhile, if it was started with this configuration. Afterwards no former key is needed for
    stored objects; keep them for the audit trail, in which patient identifiers stay sealed as they were.

    Example: `whyray storage encrypt --config /etc/whyray/whyray.yaml`.
    Exit code 0: all is sealed; 2: no key is configured, or one is wrong or missing.
    """
    from whyray.app.context import sealing_keys
    from whyray.config import load_config
    from whyray.storage import open_folder, reseal_all

    settings = load_config(config)
    storage = open_folder(settings.storage_folder, sealing_keys(settings))
    typer.echo(f"{reseal_all(storage)} objects sealed anew; key {storage.keys.current_id if storage.keys else ''}")
