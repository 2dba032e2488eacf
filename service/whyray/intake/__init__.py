"""PACS → us: the storage SCP. Success means that the instance is durable in storage and in the catalog."""

from whyray.intake.commitment import ReportAddress
from whyray.intake.listener import StorageScp, start_listener
from whyray.intake.multipart import MalformedBody, MultipartReader
from whyray.intake.process_messages import NotReady
from whyray.intake.receiving_process import ListeningProcess, serve_connections_of
from whyray.intake.receiving_processes import StartProcess
from whyray.intake.request_body import SinglePart
from whyray.intake.stow import MEDIA_TYPE, StoreRequest

__all__ = [
    "MEDIA_TYPE",
    "ListeningProcess",
    "MalformedBody",
    "MultipartReader",
    "NotReady",
    "ReportAddress",
    "SinglePart",
    "StartProcess",
    "StorageScp",
    "StoreRequest",
    "serve_connections_of",
    "start_listener",
]
