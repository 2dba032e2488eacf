"""pydicom without what a process does not need of it: what decodes pixels, and what downloads its test data.

As soon as it is imported, pydicom loads whatever could decode pixels (numpy, Pillow, GDCM, plugins of pylibjpeg), and
what could download its test data: three times its own memory, 42 MB, and twice its own time. It goes without any of
them where they are missing; so they are made to be missing for as long as it is imported. Who imports them by their own
names later still gets them.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

DOWNLOADS = ("requests", "tqdm")
"""What pydicom imports to download its test data."""
PIXEL_LIBRARIES = ("numpy", "PIL", "gdcm", "pylibjpeg", "openjpeg", "rle", "jpeg_ls", *DOWNLOADS)
"""What pydicom imports for pixels, and for its test data."""
_MODULES = (
    "pydicom",
    "pydicom.dataset",
    "pydicom.filereader",
    "pydicom.filewriter",
    "pydicom.pixels.encoders",
)


def import_pydicom_without_pixels() -> None:
    """Import it; nothing where it is imported already.

    To be called before anything of WhyRay that knows DICOM is imported, in processes alone that decode no pixels: for
    the rest of such a process `Dataset.pixel_array` and `Dataset.compress` raise errors that name missing packages.
    """
    if "pydicom" in sys.modules:
        return
    with _missing(PIXEL_LIBRARIES):
        for name in _MODULES:
            importlib.import_module(name)


def import_pydicom_to_decode() -> None:
    """Import it with what decodes pixels in the process that explains, two fifths sooner; nothing where it is there.

    Without what downloads test data (urllib's own part of that is TLS), and without GDCM, which decodes in a process of
    its own (`whyray.imaging.isolated`): pydicom's plugin for it is not to be had in this one.
    """
    if "pydicom" in sys.modules:
        return
    with _missing(("gdcm", *DOWNLOADS)), _empty(("urllib.request",)), _plugins_looked_up_once():
        for name in ("pydicom", "pydicom.data"):
            importlib.import_module(name)


@contextmanager
def _missing(names: tuple[str, ...]) -> Iterator[None]:
    """Make imports of these fail with ImportError meanwhile; what was imported before is not hidden."""
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # how Python itself says: not to be had
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def _empty(names: tuple[str, ...]) -> Iterator[None]:
    """Make imports of these give nothing meanwhile, where pydicom does not go without; what is there stays."""
    emptied = [name for name in names if name not in sys.modules]
    for name in emptied:
        sys.modules[name] = ModuleType(name)
    try:
        yield
    finally:
        for name in emptied:
            del sys.modules[name]


@contextmanager
def _plugins_looked_up_once() -> Iterator[None]:
    """Read the metadata of all that is installed once: three modules of pydicom have pylibjpeg do so, one by one."""
    read = importlib.metadata.entry_points
    everything = cache(read)

    def selected(**wanted: Any) -> Any:
        return everything().select(**wanted)

    importlib.metadata.entry_points = selected
    try:
        yield
    finally:
        importlib.metadata.entry_points = read
