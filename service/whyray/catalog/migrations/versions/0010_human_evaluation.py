"""Human evaluation and drift: feedback, samples of drift, reader studies."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0002"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "drift_series",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("package", sa.String(length=128), nullable=False),
        sa.Column("measure", sa.String(length=32), nullable=False),
        sa.Column("target", sa.String(length=128), nullable=False),
        sa.Column("method", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("package", "measure", "target", "method"),
    )
    op.create_table(
        "feedback",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("actor", sa.String(length=100), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("verdict", sa.String(length=8), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("package", sa.String(length=128), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("target", sa.String(length=128), nullable=True),
        sa.Column("method", sa.String(length=64), nullable=True),
        sa.Column("grade", sa.String(length=8), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("sop_instance_uid", "actor"),
    )
    with op.batch_alter_table("feedback", schema=None) as batch_op:
        batch_op.create_index("ix_feedback_package_at", ["package", "at"], unique=False)

    op.create_table(
        "reader_studies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("manifest", sa.JSON(), nullable=False),
        sa.Column("imported_at", sa.DateTime(), nullable=False),
        sa.Column("opened_at", sa.DateTime(), nullable=True),
        sa.Column("closed_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "drift_samples",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("series_id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(length=36), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("number", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["series_id"], ["drift_series.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("drift_samples", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_drift_samples_job_id"), ["job_id"], unique=False)
        batch_op.create_index("ix_drift_samples_series_id_id", ["series_id", "id"], unique=False)

    op.create_table(
        "study_pictures",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["reader_studies.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("study_id", "name"),
    )
    op.create_table(
        "study_readers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("reader", sa.String(length=16), nullable=False),
        sa.Column("user", sa.String(length=100), nullable=False),
        sa.Column("consented_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(["study_id"], ["reader_studies.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("study_id", "reader"),
        sa.UniqueConstraint("study_id", "user"),
    )
    op.create_table(
        "readings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("reader_id", sa.Integer(), nullable=False),
        sa.Column("session", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("case", sa.String(length=16), nullable=False),
        sa.Column("condition", sa.String(length=16), nullable=False),
        sa.Column("first_shown_at", sa.DateTime(), nullable=False),
        sa.Column("last_shown_at", sa.DateTime(), nullable=False),
        sa.Column("shows", sa.Integer(), nullable=False),
        sa.Column("answered_at", sa.DateTime(), nullable=True),
        sa.Column("answer", sa.String(length=32), nullable=True),
        sa.Column("confidence", sa.Integer(), nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("browser_ms", sa.Integer(), nullable=True),
        sa.Column("server_ms", sa.Integer(), nullable=True),
        sa.Column("revised", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["reader_id"], ["study_readers.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("reader_id", "session", "position"),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("readings")
    op.drop_table("study_readers")
    op.drop_table("study_pictures")
    with op.batch_alter_table("drift_samples", schema=None) as batch_op:
        batch_op.drop_index("ix_drift_samples_series_id_id")
        batch_op.drop_index(batch_op.f("ix_drift_samples_job_id"))

    op.drop_table("drift_samples")
    op.drop_table("reader_studies")
    with op.batch_alter_table("feedback", schema=None) as batch_op:
        batch_op.drop_index("ix_feedback_package_at")

    op.drop_table("feedback")
    op.drop_table("drift_series")
