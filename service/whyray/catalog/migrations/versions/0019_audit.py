"""The audit trail: a chain of records that nobody changes, and how far it was sent."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

_SQLITE = (
    """CREATE TRIGGER audit_records_update BEFORE UPDATE ON audit_records
        BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END""",
    """CREATE TRIGGER audit_records_delete BEFORE DELETE ON audit_records
        BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END""",
    # INSERT OR REPLACE would remove a row without asking the trigger above
    """CREATE TRIGGER audit_records_insert BEFORE INSERT ON audit_records
        WHEN NEW.number <> (SELECT coalesce(max(number), 0) + 1 FROM audit_records)
        BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END""",
)
_POSTGRESQL = (
    """CREATE FUNCTION whyray_audit_append_only() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'the audit trail is append-only'; END $$""",
    """CREATE TRIGGER audit_records_change BEFORE UPDATE OR DELETE ON audit_records
       FOR EACH ROW EXECUTE FUNCTION whyray_audit_append_only()""",
    """CREATE TRIGGER audit_records_truncate BEFORE TRUNCATE ON audit_records
       FOR EACH STATEMENT EXECUTE FUNCTION whyray_audit_append_only()""",
)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "audit_records",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_table(
        "audit_receivers",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("through", sa.BigInteger(), nullable=False),
        sa.Column("failing_since", sa.DateTime(), nullable=True),
        sa.Column("lease_owner", sa.String(length=128), nullable=True),
        sa.Column("lease_until", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)


def downgrade() -> None:
    """Take back."""
    op.drop_table("audit_receivers")
    op.drop_table("audit_records")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION whyray_audit_append_only()")
