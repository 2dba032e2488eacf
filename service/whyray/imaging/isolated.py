"""GDCM in a process of its own: on damaged JPEG it aborts, and would take the worker, its leases and its queue along.

Run as `python -m whyray.imaging.isolated` this module is that process. Messages both ways are an 8-byte length and as
many bytes: a frame's description in JSON and its codestream in; an array in NumPy's format out, or a message that
starts with `error` and says why.
"""

from __future__ import annotations

import io
import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import UID, JPEGBaseline8Bit, JPEGExtended12Bit

from whyray.base.child_process import end_with_parent

ERROR = b"error"


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

    def frame(self, codestream: bytes, syntax: UID, options: Mapping[str, Any]) -> NDArray[Any]:
        """Decode one frame, described by pydicom's decoding options: (rows, columns) or (rows, columns, samples).

        Raises ValueError when the decoder refuses, or dies of the data.
        """
        child = self._started()
        assert child.stdin is not None
        assert child.stdout is not None
        whole_answer_read = False
        try:
            _send(child.stdin, json.dumps({**options, "transfer_syntax_uid": str(syntax)}).encode())
            _send(child.stdin, codestream)
            message = _receive(child.stdout)
            whole_answer_read = True
        except (BrokenPipeError, EOFError) as error:
            raise ValueError("the decoder died of this data") from error
        finally:
            # What is left of an answer would be taken for the next one's.
            if not whole_answer_read:
                self._end()
        if message.startswith(ERROR):
            raise ValueError(message[len(ERROR) :].decode())
        return np.asarray(np.load(io.BytesIO(message), allow_pickle=False))

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            self._child = subprocess.Popen(  # nosec B603  # WhyRay itself, without a shell
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
            options = json.loads(_receive(requests))
            codestream = _receive(requests)
        except EOFError:
            return
        syntax = UID(options.pop("transfer_syntax_uid"))
        try:
            buffer = io.BytesIO()
            np.save(buffer, _decoded(codestream, syntax, options), allow_pickle=False)
            _send(answers, buffer.getvalue())
        except Exception as error:  # told to the process that asked
            _send(answers, ERROR + " ".join(str(error).split()).encode())


def _decoded(codestream: bytes, syntax: UID, options: dict[str, Any]) -> NDArray[Any]:
    if syntax in (JPEGBaseline8Bit, JPEGExtended12Bit) and options["bits_stored"] > 8:
        return _twelve_bit_jpeg(codestream, options)
    frame, _ = get_decoder(syntax).as_array(encapsulate([codestream]), index=0, decoding_plugin="gdcm", **options)
    return np.asarray(frame)


def _twelve_bit_jpeg(codestream: bytes, options: dict[str, Any]) -> NDArray[Any]:
    """JPEG Process 4 with 12-bit samples by GDCM itself: pydicom's plugin declines it, its own decoder is GPL.

    The result equals libjpeg-turbo's, bit for bit, on pydicom's JPEG-lossy.dcm and JPGExtended.dcm.
    """
    import gdcm  # here alone: the process that asks does without

    rows, columns, samples = (options[name] for name in ("rows", "columns", "samples_per_pixel"))
    if samples != 1:
        raise ValueError(f"12-bit JPEG with {samples} samples a pixel")
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(codestream)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType(options["photometric_interpretation"])
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(JPEGExtended12Bit))))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, 12, 11, 0))
    # GDCM hands bytes over as text with surrogates.
    buffer = image.GetBuffer().encode("utf-8", "surrogateescape")
    if len(buffer) != rows * columns * 2:
        raise ValueError(f"expected {rows * columns * 2} bytes, the decoder gave {len(buffer)}")
    return np.frombuffer(buffer, dtype="<u2").reshape(rows, columns)


if __name__ == "__main__":
    end_with_parent(signal.SIGKILL)  # one that hangs does not see that nobody asks any more
    # The decoders' own chatter goes to standard output at times; the answers need a clean channel.
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _serve(sys.stdin.buffer, channel)
