"""Torch computes on the threads that a site gave to ONNX Runtime: on another number its sums come out otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from inference import nets
from whyray.inference import RuntimeOptions, load_package


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leaves the number of this process's threads as it was."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("threads", [1, 3])
def test_torch_has_the_threads_that_were_given_to_onnx_runtime(tmp_path: Path, threads: int) -> None:
    folder = nets.pack(tmp_path, "plain")
    model = load_package(folder, options=RuntimeOptions(device="cpu", intra_op_threads=threads))
    assert model.session.torch_device == "cpu"
    assert torch.get_num_threads() == threads


def test_torch_is_left_alone_where_nobody_gave_a_number(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    model = load_package(nets.pack(tmp_path, "plain"), options=RuntimeOptions(device="cpu"))
    assert model.session.torch_device == "cpu"
    assert torch.get_num_threads() == before
