"""What the API says of contents that came under known UIDs, of rejected instances, and of decisions about them."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from whyray.admin.answer import Answer
from whyray.catalog import PixelComparison


class NewerContentOut(Answer):
    """Newest contents of instances that are not in use, and that nobody has decided about."""

    instances: int
    comparing: int = Field(description="Of these, not compared yet with those in use.")
    alone: int = Field(description="Instances in use that did not come again.")
    identification: list[str] = Field(
        description="Attributes of patient and order in which they differ.", examples=[["PatientID", "PatientName"]]
    )
    others: list[str] = Field(description="Some of the other attributes in which they differ.")
    pixels: list[PixelComparison] = Field(description="How their pixel data compare.")
    version: str = Field(description="Of what is said here: sent with a decision, it is refused where this changed.")


class ContentDecided(Answer):
    """What a decision about newer contents led to."""

    instances: int = Field(description="Whose content was decided about; 0 where nothing waited.")
    jobs: int = Field(description="Jobs on the former content that were superseded.")
    results: int = Field(description="Results of the former content that were withdrawn.")
    cancelled: int = Field(description="Deliveries of these that were cancelled.")
    sent: int = Field(description="Deliveries of these that archives have, or may be getting.")


class RejectionOut(Answer):
    """What one note (IHE IOCM) rejects of a study, or did until somebody lifted that."""

    note: str = Field(description="SOP Instance UID of the key object selection.")
    title: str = Field(description="Its document title.", examples=["113037 Rejected for Patient Safety Reasons"])
    lifted: bool = Field(description="Whether the rejection was lifted: then the instances are used again.")
    since: datetime = Field(description="When the note came, or the rejection was lifted.")
    instances: int = Field(description="How many instances it rejects, whether they are here or not.")


class RejectionsLifted(Answer):
    """What lifting rejections led to."""

    instances: int = Field(description="That are used again where they are here, or come again.")
    becomes: str = Field(
        description="What becomes of them: images that were fetched for a workitem alone are to be ordered anew.",
        examples=["the study is routed anew"],
    )
