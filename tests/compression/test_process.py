"""Results are compressed in processes of their own, whose end is noticed."""

from __future__ import annotations

import pytest
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless, SecondaryCaptureImageStorage

from whyray.base.errors import TimeLimit, WhyRayError
from whyray.compression import CompressionProcess


def test_a_process_that_was_killed_is_replaced_and_what_it_refuses_is_told() -> None:
    compression = CompressionProcess(most=1)
    try:
        known = {JPEG2000Lossless, JPEGLSLossless, RLELossless}
        assert compression.syntaxes(SecondaryCaptureImageStorage) == known
        (first,) = compression._idle
        first.process.kill()
        first.process.wait()
        with pytest.raises(WhyRayError, match="compressing a result"):
            compression.compressed(b"no DICOM file", str(JPEGLSLossless))
        (second,) = compression._idle
        assert second.process.pid != first.process.pid
    finally:
        compression.close()
    assert compression._idle == []
    assert second.process.poll() == 0


def test_an_encoder_that_hangs_is_ended() -> None:
    compression = CompressionProcess(longest=0.0)
    with pytest.raises(TimeLimit, match="took longer than 0 s"):
        compression.syntaxes(SecondaryCaptureImageStorage)
    assert compression._idle == []
