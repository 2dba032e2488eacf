"""Two counters of a study, called by what they count."""

from alembic import op

revision = "0013"
down_revision = "0012"

_NAMES = {"serial": "received_sequence", "settled_serial": "routed_sequence"}


def upgrade() -> None:
    """Apply."""
    _rename(_NAMES)


def downgrade() -> None:
    """Take back."""
    _rename({new: old for old, new in _NAMES.items()})


def _rename(names: dict[str, str]) -> None:
    # Not by Alembic's batch: on SQLite it makes the table anew, and dropping the old one takes the rows of all tables
    # that refer to it with it.
    for name, new in names.items():
        op.execute(f"ALTER TABLE studies RENAME COLUMN {name} TO {new}")
