"""How somebody gets in where there is no account yet: a link that makes the first administrator, and ends with that."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from whyray.app.context import Context
from whyray.app.readiness import admin_url
from whyray.base.shown import shown_path
from whyray.catalog import Catalog, accounts, entry_links
from whyray.config import Config

_FILE = "first-administrator"
_HOW = "makes the first administrator, once, within 24 hours; so does `whyray account add NAME --role administrator`"


def first_start_words(context: Context) -> str | None:
    """What to tell who starts the service where nobody can log in; None where somebody can.

    The link itself is for a terminal alone: an output that goes elsewhere is kept, as by journald. Then it is left in a
    file of the state folder that only its own user reads.
    """
    config = context.config()
    file = config.state / _FILE
    admin = config.admin
    code = None
    if not (admin.token or admin.logins or admin.oidc or admin.local_access):
        with context.catalog.begin() as session:
            code = entry_links.first_administrator(session, context.catalog.clock())
    if code is None:
        file.unlink(missing_ok=True)
        return None
    link = f"{admin_url(config)}welcome?code={code}"
    if sys.stdout.isatty():
        return f"no account yet: {link} {_HOW}"
    _write(file, link)
    return f"no account yet: the link in {shown_path(file)} {_HOW}"


def demo_link(catalog: Catalog, config: Config) -> str:
    """A link that logs into the admin page of a demo, as its administrator, as often as it is followed."""
    from whyray.base.api_tokens import new_token
    from whyray.base.passwords import hashed

    kept = hashed(new_token()[1])
    with catalog.begin() as session:
        now = catalog.clock()
        accounts.add(session, "demo", "administrator", kept, now, actor="whyray demo")
        return f"{admin_url(config)}welcome?code={entry_links.for_account(session, 'demo', now)}"


def _write(file: Path, text: str) -> None:
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as written:
        written.write(f"{text}\n")
