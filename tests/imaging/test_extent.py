"""An image that is too large is refused by name, before memory is taken for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import synthetic
from whyray.base.errors import ImageError, ResourceExhausted
from whyray.imaging import extent, read_images


def written(folder: Path) -> list[Path]:
    planes = synthetic.stack(6, (8, 8), distance=5.0)
    return synthetic.write(synthetic.slices(np.zeros((6, 8, 8), np.int16), planes), folder)


def test_a_volume_beyond_the_limit_is_refused_with_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = written(tmp_path)
    monkeypatch.setattr(extent, "LARGEST", 6 * 8 * 8 * 2 - 1)
    study = read_images(paths)
    assert not study.images
    (refusal,) = study.refusals
    assert isinstance(refusal.error, ImageError)
    assert "6 frames of 8 x 8 pixels" in refusal.error.message
    assert len(refusal.sop_instance_uids) == 6


def test_a_volume_at_the_limit_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = written(tmp_path)
    monkeypatch.setattr(extent, "LARGEST", 6 * 8 * 8 * 2)
    (image,) = read_images(paths).or_raise()
    assert image.shape == (6, 8, 8)


def test_a_volume_for_which_there_is_no_memory_is_for_another_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = written(tmp_path)
    monkeypatch.setattr(extent, "memory_left", lambda: 1000)
    with pytest.raises(ResourceExhausted, match=r"6 frames of 8 x 8 pixels.*MiB are left") as refused:
        read_images(paths)
    assert "workers.memory" in refused.value.advice


def test_what_is_left_follows_from_the_limit_that_the_process_was_given() -> None:
    import resource

    from whyray.base.free_memory import memory_left, process_field

    before = resource.getrlimit(resource.RLIMIT_DATA)
    held = process_field(Path("/proc/self/status"), "VmData")
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (held + (64 << 20), before[1]))
        left = memory_left()
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
    assert left is not None
    assert 0 <= left <= 64 << 20
