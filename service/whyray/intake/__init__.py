"""PACS → us: the storage SCP. Success means that the instance is durable in storage and in the catalog."""

from whyray.intake.commitment import ReportAddress
from whyray.intake.listener import StorageScp, start_listener
from whyray.intake.multipart import MalformedBody, MultipartReader
from whyray.intake.stow import MEDIA_TYPE, StoreRequest

__all__ = [
    "MEDIA_TYPE",
    "MalformedBody",
    "MultipartReader",
    "ReportAddress",
    "StorageScp",
    "StoreRequest",
    "start_listener",
]
