"""PACS → us: the storage SCP. Success means that the instance is durable in storage and in the catalog."""

from whyray.intake.listener import StorageScp, start_listener

__all__ = ["StorageScp", "start_listener"]
