"""GDCM in a process of its own: on damaged JPEG it aborts, and would take the worker, its leases and its queue along.

Run as `python -m whyray.imaging.isolated` this module is that process. Messages both ways are an 8-byte length and as
many bytes: a DICOM file in; per frame an array in NumPy's format out; then an empty message, or one that starts with
`error` and says why.
"""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import IO, Any, BinaryIO

import gdcm
import numpy as np
import pydicom
import pydicom.dataset
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder
from pydicom.uid import JPEGExtended12Bit

ERROR = b"error"
IMAGE_PIXEL_GROUP = 0x0028
PIXEL_DATA = 0x7FE00010


class IsolatedGdcm:
    """A child process that decodes; started when first needed, ended with the context."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> IsolatedGdcm:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def frames(self, data: Dataset, wanted: Sequence[int]) -> Iterator[NDArray[Any]]:
        """Yield the wanted frames (1-based). Raises ValueError when the decoder refuses, or dies of the data."""
        child = self._started()
        assert child.stdin is not None
        assert child.stdout is not None
        whole_answer_read = False
        try:
            _send(child.stdin, _only_pixels(data))
            _send(child.stdin, np.asarray(wanted, dtype="<i8").tobytes())
            while message := _receive(child.stdout):
                if message.startswith(ERROR):
                    whole_answer_read = True
                    raise ValueError(message[len(ERROR) :].decode())
                yield np.load(io.BytesIO(message), allow_pickle=False)
            whole_answer_read = True
        except (BrokenPipeError, EOFError) as error:
            raise ValueError("the decoder died of this data") from error
        finally:
            # What is left of an answer would be taken for the next one's.
            if not whole_answer_read:
                self._end()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "whyray.imaging.isolated"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        return self._child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.communicate()


def _only_pixels(data: Dataset) -> bytes:
    """A file of what a decoder needs and nothing of the patient."""
    pixels = Dataset()
    for tag in data.keys():  # noqa: SIM118 - iterating the data set itself would parse every other element
        if tag.group == IMAGE_PIXEL_GROUP or tag == PIXEL_DATA:
            pixels.add(data[tag])
    pixels.file_meta = pydicom.dataset.FileMetaDataset()
    pixels.file_meta.TransferSyntaxUID = data.file_meta.TransferSyntaxUID
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, pixels, enforce_file_format=False)
    return buffer.getvalue()


def _send(stream: BinaryIO | IO[bytes], message: bytes) -> None:
    stream.write(struct.pack("<Q", len(message)))
    stream.write(message)
    stream.flush()


def _receive(stream: BinaryIO | IO[bytes]) -> bytes:
    """One message. Raises EOFError where the other side is gone."""
    (length,) = struct.unpack("<Q", _exactly(stream, 8))
    return _exactly(stream, length)


def _exactly(stream: BinaryIO | IO[bytes], length: int) -> bytes:
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return content


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    while True:
        try:
            data = pydicom.dcmread(io.BytesIO(_receive(requests)), force=True)
        except EOFError:
            return
        wanted = np.frombuffer(_receive(requests), dtype="<i8").tolist()
        try:
            for frame in _decoded(data, wanted):
                buffer = io.BytesIO()
                np.save(buffer, frame, allow_pickle=False)
                _send(answers, buffer.getvalue())
            _send(answers, b"")
        except Exception as error:
            _send(answers, ERROR + " ".join(str(error).split()).encode())


def _decoded(data: Dataset, wanted: Sequence[int]) -> Iterator[NDArray[Any]]:
    syntax = data.file_meta.TransferSyntaxUID
    if syntax == JPEGExtended12Bit:
        chosen = set(wanted)
        yield from (frame for number, frame in enumerate(_twelve_bit_jpeg(data), start=1) if number in chosen)
        return
    indices = [number - 1 for number in wanted]
    for frame, _ in get_decoder(syntax).iter_array(data, raw=False, indices=indices, decoding_plugin="gdcm"):
        yield frame


def _twelve_bit_jpeg(data: Dataset) -> Iterator[NDArray[Any]]:
    """JPEG Process 4 with 12-bit samples by GDCM itself: pydicom's plugin declines it, its own decoder is GPL.

    The result equals libjpeg-turbo's, bit for bit, on pydicom's JPEG-lossy.dcm and JPGExtended.dcm.
    """
    rows, columns, samples = int(data.Rows), int(data.Columns), int(data.SamplesPerPixel)
    if samples != 1:
        raise ValueError(f"12-bit JPEG with {samples} samples a pixel")
    for encoded in generate_frames(data.PixelData, number_of_frames=int(data.get("NumberOfFrames") or 1)):
        fragment = gdcm.Fragment()
        fragment.SetByteStringValue(encoded)
        fragments = gdcm.SequenceOfFragments.New()
        fragments.AddFragment(fragment)
        element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
        element.SetValue(fragments.__ref__())
        image = gdcm.Image()
        image.SetNumberOfDimensions(2)
        image.SetDimensions((columns, rows, 1))
        image.SetDataElement(element)
        kind = gdcm.PhotometricInterpretation.GetPIType(str(data.PhotometricInterpretation))
        image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
        image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(JPEGExtended12Bit))))
        image.SetPixelFormat(gdcm.PixelFormat(1, 16, 12, 11, 0))
        # GDCM hands bytes over as text with surrogates.
        buffer = image.GetBuffer().encode("utf-8", "surrogateescape")
        if len(buffer) != rows * columns * 2:
            raise ValueError(f"expected {rows * columns * 2} bytes, the decoder gave {len(buffer)}")
        yield np.frombuffer(buffer, dtype="<u2").reshape(rows, columns)


if __name__ == "__main__":
    # The decoders' own chatter goes to standard output at times; the answers need a clean channel.
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _serve(sys.stdin.buffer, channel)
