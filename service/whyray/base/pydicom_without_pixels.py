"""pydicom without what a process does not need of it: what decodes pixels, and what downloads its test data.

As soon as it is imported, pydicom loads whatever could decode pixels (numpy, Pillow, GDCM, plugins of pylibjpeg), and
what could download its test data: three times its own memory, 42 MB, and twice its own time. It goes without any of
them where they are missing; so they are made to be missing for as long as it is imported. Who imports them by their own
names later still gets them.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager

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


def import_pydicom_without_downloads() -> None:
    """Import it with all that decodes pixels, a fifth sooner; nothing where it is imported already."""
    if "pydicom" in sys.modules:
        return
    with _missing(DOWNLOADS):
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
