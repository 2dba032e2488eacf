from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from inference import nets
from whyray.explain import explain
from whyray.inference import Model, RuntimeOptions, load_package, memory
from whyray.inference.memory import measured_batch, memory_budget, unmeasured_batch
from whyray.inference.network_session import NetworkSession
from whyray.inference.session import cap_torch, cuda_settings, open_session, run_bound, torch_share
from whyray.onboarding import batch_measuring
from whyray.onboarding.batch_measuring import bytes_per_item, measure_batches

MB = 1 << 20


def _reported(tmp_path: Path, options: RuntimeOptions, **batch: dict[str, int]) -> Model:
    folder = tmp_path / "plain" / "1.0.0"
    shutil.copytree(nets.packed("plain"), folder)
    model = nets.loaded("plain")
    report = {"digest": model.package.digest, "tier": "T2", "providers": list(model.session.providers), "batch": batch}
    (folder / "onboarding").mkdir()
    (folder / "onboarding" / "report.json").write_text(json.dumps(report))
    return load_package(folder, options=options)


def _clock(per_pass: float, per_item: float, sizes: list[int]) -> Callable[[], float]:
    """A clock for passes that take `per_pass` seconds and `per_item` for each item, twice each size in turn."""
    now, times = 0.0, []
    for size in sizes:
        for _ in range(2):
            times += [now, now := now + per_pass + per_item * size]
    return iter(times).__next__


def _measured(budget: int | None, per_item: int, *, slow: bool = False) -> dict[str, object]:
    sizes = [1, 2, 4, 8, 16]
    asked = iter(sizes)
    return batch_measuring._measure(
        lambda items: lambda: None,
        sizes,
        budget,
        lambda way: 5 * MB + per_item * next(asked),
        1,
        _clock(1.0, 100.0 if slow else 0.001, sizes),
    )


def test_the_batch_is_the_largest_that_the_budget_holds_where_larger_is_faster() -> None:
    assert _measured(None, 10 * MB)["items"] == 16
    assert _measured(100 * MB, 10 * MB)["items"] == 8
    assert _measured(35 * MB, 10 * MB)["items"] == 2


def test_no_batch_is_tried_that_would_take_too_long_or_too_much() -> None:
    assert set(_measured(35 * MB, 10 * MB)["items per second"]) == {"1", "2"}
    slow = _measured(None, MB, slow=True)
    assert set(slow["items per second"]) == {"1"}


def test_the_smallest_batch_that_is_nearly_as_fast_as_the_best_is_taken() -> None:
    sizes = [1, 2, 4, 8, 16]
    measured = batch_measuring._measure(
        lambda items: lambda: None, sizes, None, lambda way: None, 1, _clock(0.01, 1.0, sizes)
    )
    assert measured["items"] == 1
    assert "bytes per item" not in measured


def test_memory_of_an_item_is_the_steepest_growth_and_never_less_than_the_item() -> None:
    assert bytes_per_item({1: 100, 2: 110, 4: 190}) == 30
    assert bytes_per_item({1: 100}) == 100
    assert bytes_per_item({1: 100, 2: 100}, least=7) == 7
    assert bytes_per_item({1: None}) is None


PEAKS = """
import numpy as np
from whyray.onboarding.batch_measuring import _cpu_peak
MB = 1 << 20
held = np.ones(30 * MB, np.uint8)
print(_cpu_peak(lambda: np.ones(60 * MB, np.uint8).sum()), _cpu_peak(lambda: held.sum()))
"""


def test_peak_memory_is_that_of_the_work_and_not_of_what_was_there_before() -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("this system does not tell peak memory")
    # in a small process of its own: of one as large as that of the tests, a system may take cold pages away meanwhile
    ran = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True)
    of_new, of_held = map(int, ran.stdout.split())
    assert 55 * MB < of_new < 75 * MB, of_new / MB
    assert of_held < 10 * MB


def test_a_measured_package_says_how_many_items_and_what_each_takes() -> None:
    measured = measure_batches(nets.loaded("unet"), nets.image("unet").numpy())
    for kind in ("forward", "gradient"):
        assert measured[kind]["items"] in (1, 2, 4, 8, 16)
        assert str(measured[kind]["items"]) in measured[kind]["items per second"]
        if Path("/proc/self/clear_refs").exists():
            assert measured[kind]["bytes per item"] >= nets.image("unet").numpy().nbytes


def test_a_graph_that_takes_one_item_is_measured_with_one(tmp_path: Path) -> None:
    model = load_package(nets.pack(tmp_path, "plain", dynamic=False), options=RuntimeOptions(device="cpu"))
    assert measure_batches(model, nets.image("plain").numpy())["forward"]["items"] == 1


def test_batches_are_those_of_the_report_within_this_machines_budget(tmp_path: Path) -> None:
    entries = {"forward": {"items": 16, "bytes per item": 10 * MB}, "gradient": {"items": 4, "bytes per item": 10 * MB}}
    options = RuntimeOptions(device="cpu", memory_limit=1000 * MB)
    model = _reported(tmp_path / "roomy", options, **entries)
    assert (model.session.batch_size, model.session.gradient_batch_size) == (16, 4)
    model = _reported(tmp_path / "tight", RuntimeOptions(device="cpu", memory_limit=25 * MB), **entries)
    assert (model.session.batch_size, model.session.gradient_batch_size) == (2, 2)
    model = _reported(tmp_path / "none", RuntimeOptions(device="cpu", memory_limit=1), **entries)
    assert model.session.batch_size == 1
    model = _reported(tmp_path / "told", RuntimeOptions(device="cpu", batch_size=3), **entries)
    assert (model.session.batch_size, model.session.gradient_batch_size) == (3, 3)


def test_passes_have_the_size_that_the_report_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = RuntimeOptions(device="cpu", intra_op_threads=1, memory_limit=1000 * MB)
    model = _reported(tmp_path, options, forward={"items": 5}, gradient={"items": 3})
    passes: list[int] = []
    right = NetworkSession.logits

    def counted(self: NetworkSession, x: np.ndarray) -> np.ndarray:
        passes.append(len(x))
        return right(self, x)

    monkeypatch.setattr(NetworkSession, "logits", counted)
    explain(model, nets.image("plain").numpy(), target="one", method="rise", masks=12)
    assert passes == [5, 5, 2]


def test_without_a_report_the_size_of_the_input_decides() -> None:
    assert unmeasured_batch((1, 1, 32, 32)) == 8
    assert unmeasured_batch((1, 1, 96, 96, 96)) == 2
    assert unmeasured_batch((1, 1, 512, 512, 512)) == 1
    assert nets.loaded("plain").session.batch_size == 8


def test_a_budget_that_is_not_known_leaves_the_reports_figure() -> None:
    assert measured_batch({"items": 8, "bytes per item": MB}, None) == 8
    assert measured_batch({"items": 8}, 10) == 8
    assert measured_batch(None, 10) is None


def test_the_budget_is_what_the_options_say_or_a_quarter_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory_budget(RuntimeOptions(memory_limit=5), cuda=False) == 5
    monkeypatch.setattr(memory, "free_memory", lambda: 400)
    assert memory_budget(RuntimeOptions(), cuda=False) == 100
    assert memory_budget(RuntimeOptions(gpu_memory_limit=600), cuda=True) == 300


def test_bound_inputs_and_outputs_give_the_same_numbers() -> None:
    model, x = nets.loaded("dense"), nets.image("dense").numpy()
    session = open_session(model.network.graph.with_outputs(["logits"]), model.options, name="bound")
    expected = session.run(["logits"], {"x": x})[0]
    outputs = run_bound(session, ["logits"], {"x": x}, "cpu")
    assert np.array_equal(outputs[0], expected)
    turned = np.ascontiguousarray(x.transpose(0, 1, 3, 2)).transpose(0, 1, 3, 2)
    assert np.array_equal(run_bound(session, ["logits"], {"x": turned}, "cpu")[0], expected)


def test_gpu_memory_is_shared_out_between_onnx_runtime_and_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    options = RuntimeOptions(gpu_memory_limit=4000 * MB)
    assert cuda_settings(options)["gpu_mem_limit"] == str(2000 * MB)
    assert "gpu_mem_limit" not in cuda_settings(RuntimeOptions())
    assert torch_share(4000 * MB, 8000 * MB) == 0.25
    assert torch_share(40000 * MB, 8000 * MB) == 1.0
    told: list[tuple[float, int]] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=8000 * MB))
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda share, device: told.append((share, device))
    )
    cap_torch(options)
    cap_torch(RuntimeOptions())
    assert told == [(0.25, 0)]
