"""Where bytes live: a folder by default. Written means durable: synced to disk before the key is given out."""

from whyray.storage.folder import FolderStorage
from whyray.storage.folder_writer import FolderWriter
from whyray.storage.opening import is_made, open_folder, reseal_all
from whyray.storage.orphans import SAFE_AGE, sweep_orphans
from whyray.storage.store import Storage, Stored, Writer

__all__ = [
    "SAFE_AGE",
    "FolderStorage",
    "FolderWriter",
    "Storage",
    "Stored",
    "Writer",
    "is_made",
    "open_folder",
    "reseal_all",
    "sweep_orphans",
]
