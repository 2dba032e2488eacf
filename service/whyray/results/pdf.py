"""Pages as a PDF file (ISO 32000-1): each one lossless image on a sheet. The same pages give the same bytes."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from whyray.base.stages import stage
from whyray.results.png import filtered_up

SHEETS = {"a4": (595.28, 841.89), "letter": (612.0, 792.0)}
"""Widths and heights of paper in points (1/72 inch), upright."""
_MARGIN = 28.35
"""1 cm, in points: what printers can't print on."""


@stage("PDF encoding")
def pdf_file(pictures: Sequence[NDArray[np.uint8]], *, title: str, language: str, sheet: str) -> bytes:
    """A PDF 1.4 document with one sheet for each picture, upright or lying as the picture is.

    There is no date, no identifier and no font in it, so that nothing but the pictures decides about its bytes.

    Parameters
    ----------
    pictures
        (rows, columns, 3) each.
    language
        Of the words on the pages, as in RFC 5646.
    sheet
        A key of `SHEETS`.
    """
    objects: list[bytes] = []

    def add(content: bytes) -> int:
        objects.append(content)
        return len(objects)

    first_page = 4
    kids = " ".join(f"{first_page + 3 * number} 0 R" for number in range(len(pictures)))
    add(f"<< /Type /Catalog /Pages 2 0 R /Lang ({language}) /ViewerPreferences << /DisplayDocTitle true >> >>".encode())
    add(f"<< /Type /Pages /Count {len(pictures)} /Kids [{kids}] >>".encode())
    information = add(f"<< /Title <FEFF{title.encode('utf-16-be').hex().upper()}> /Producer (WhyRay) >>".encode())
    for picture in pictures:
        number = len(objects) + 1
        box, drawing = _placed(picture.shape, SHEETS[sheet])
        add(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {box[0]:g} {box[1]:g}] /Contents {number + 1} 0 R "
            f"/Resources << /XObject << /Page {number + 2} 0 R >> >> >>".encode()
        )
        add(_stream("", drawing))
        add(_image(picture))
    return _assembled(objects, information)


def _placed(shape: tuple[int, ...], upright: tuple[float, float]) -> tuple[tuple[float, float], bytes]:
    """The sheet, and what draws the picture as large as it fits, at the top and in the middle."""
    height, width = shape[:2]
    sheet = upright if height >= width else (upright[1], upright[0])
    scale = min((sheet[0] - 2 * _MARGIN) / width, (sheet[1] - 2 * _MARGIN) / height)
    wide, high = width * scale, height * scale
    left, bottom = (sheet[0] - wide) / 2, sheet[1] - _MARGIN - high
    return sheet, f"q {wide:.3f} 0 0 {high:.3f} {left:.3f} {bottom:.3f} cm /Page Do Q".encode()


def _image(picture: NDArray[np.uint8]) -> bytes:
    height, width = picture.shape[:2]
    return _stream(
        f"/Type /XObject /Subtype /Image /Width {width} /Height {height} /ColorSpace /DeviceRGB /BitsPerComponent 8 "
        f"/Filter /FlateDecode /DecodeParms << /Predictor 15 /Colors 3 /BitsPerComponent 8 /Columns {width} >>",
        zlib.compress(filtered_up(picture).data, 6),
    )


def _stream(entries: str, content: bytes) -> bytes:
    return f"<< {entries} /Length {len(content)} >>\nstream\n".encode() + content + b"\nendstream"


def _assembled(objects: Sequence[bytes], information: int) -> bytes:
    made = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for number, content in enumerate(objects, start=1):
        places.append(len(made))
        made += b"%d 0 obj\n" % number + content + b"\nendobj\n"
    start = len(made)
    made += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for place in places:
        made += b"%010d 00000 n \n" % place
    made += b"trailer\n<< /Size %d /Root 1 0 R /Info %d 0 R >>\n" % (len(objects) + 1, information)
    return bytes(made + b"startxref\n%d\n%%%%EOF\n" % start)
