"""ONNX Runtime sessions: which device, how many threads, and a loud failure where the GPU asked for is not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from whyray.base.errors import PackageError
from whyray.base.stages import stage
from whyray.inference.cache import cache_folder

Device = Literal["cpu", "cuda", "auto"]
_CUDA = "CUDAExecutionProvider"


@dataclass(frozen=True)
class RuntimeOptions:
    """How models run.

    Attributes
    ----------
    device
        `auto` takes CUDA where this ONNX Runtime has it; `cuda` fails where it does not load.
    intra_op_threads
        Threads within one operator, of ONNX Runtime and of torch; None leaves it to them (all cores). Torch's sums come
        out otherwise in the last bits on another number of threads.
    sharing
        How many processes run models with so many threads on this machine at the same time: the workers.
    batch_size
        Items in one forward pass of a perturbation method; None takes what onboarding measured, and without a report
        chooses by the size of the input.
    memory_limit
        Bytes of main memory that a batch may take; None takes a quarter of what is free.
    gpu_memory_limit
        Bytes of GPU memory that this process may take: one half for each ONNX Runtime session's arena, the other for
        torch. None leaves it open, and a batch may take half of what is free.
    artefacts
        A site's folders of reference artefacts, NAME/VERSION/KIND.npz, before those that came with the package.
    perturbed_on
        Where a perturbation method's images are made: on the `device` that the model runs on, or in main memory
        (`host`). `auto` takes the device where that is a GPU.
    cache
        Where what was compiled is kept (see `CompiledCache`); None keeps nothing.
    """

    device: Device = "auto"
    intra_op_threads: int | None = None
    sharing: int = 1
    batch_size: int | None = None
    memory_limit: int | None = None
    gpu_memory_limit: int | None = None
    artefacts: tuple[Path, ...] = ()
    perturbed_on: Literal["auto", "device", "host"] = "auto"
    cache: Path | None = field(default_factory=cache_folder)


def open_session(graph: bytes, options: RuntimeOptions, *, name: str) -> Any:
    """An `onnxruntime.InferenceSession` of a serialised graph.

    Raises PackageError where the graph does not load, or where CUDA was asked for and did not load.
    """
    import onnxruntime

    available = onnxruntime.get_available_providers()
    wants_gpu = options.device == "cuda" or (options.device == "auto" and _CUDA in available)
    if options.device == "cuda" and _CUDA not in available:
        raise PackageError(
            f"{name}: device 'cuda' was asked for, but this ONNX Runtime has only {available}",
            advice="Install onnxruntime-gpu instead of onnxruntime (never both), or set device: cpu.",
        )
    providers: list[Any] = ["CPUExecutionProvider"]
    if wants_gpu:
        if hasattr(onnxruntime, "preload_dlls"):
            # CUDA and cuDNN may be Python packages (torch brings them), which the loader does not search by itself
            onnxruntime.preload_dlls()
        providers.insert(0, (_CUDA, cuda_settings(options)))
        cap_torch(options)
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    # Threads that wait in a loop after a run would take the cores from what comes next: another session, torch, numpy.
    # Two sessions in turns on two cores run 2 to 2.5 times as fast without.
    settings.add_session_config_entry("session.force_spinning_stop", "1")
    if not wants_gpu:
        _share_arena()
        settings.add_session_config_entry("session.use_env_allocators", "1")
    if options.intra_op_threads is not None:
        settings.intra_op_num_threads = options.intra_op_threads
    try:
        with stage("loading models"):
            session = onnxruntime.InferenceSession(graph, settings, providers=providers)
    except runtime_errors() as error:
        raise PackageError(f"{name}: the graph does not load: {error}", advice=_how_to_export(str(error))) from error
    if options.device == "cuda" and _CUDA not in session.get_providers():
        raise PackageError(
            f"{name}: device 'cuda' was asked for, but CUDA did not load; running on {session.get_providers()}",
            advice="Check driver and CUDA/cuDNN libraries (`nvidia-smi`, ONNX Runtime's release notes).",
        )
    return session


def _how_to_export(error: str) -> str:
    """What helps against ONNX Runtime's refusal of a graph, by its words."""
    if "opset" in error and "support" in error:
        return "Export the model again with an older opset (`opset_version` of torch.onnx.export), e.g. 18."
    if "is not a registered function/op" in error:
        return (
            "Operators of one's own are not run: export the model again, with operators of ONNX alone, or with "
            "functions of the model's own that are made of these."
        )
    return "Export the model again, with operators that this ONNX Runtime has."


@lru_cache(maxsize=1)
def _share_arena() -> None:
    """Make the one arena that all sessions of this process on the CPU take their tensors from.

    By default each has an arena of its own, which keeps the most that it ever took: a dozen sessions that run one after
    the other then hold a dozen times what one of them needs. Without an arena passes take half as long again.
    """
    import onnxruntime

    where = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    onnxruntime.create_and_register_allocator(where, None)


@lru_cache(maxsize=1)
def _quiet() -> Any:
    """Options of a run that ends in an exception, and not in the same words on standard error too."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.log_severity_level = 4
    return options


@lru_cache(maxsize=1)
def runtime_errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises for a graph that does not load or run: classes of its own without a common base.

    A value of a type or shape that its Python side refuses comes as ValueError or RuntimeError. Memory that runs out is
    none of them: MemoryError goes through.
    """
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [member for member in vars(state).values() if isinstance(member, type) and issubclass(member, Exception)]
    return (*own, ValueError, RuntimeError)


@lru_cache(maxsize=1)
def graph_refusals() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises for a graph, or shapes fed to it, that it refuses on every machine."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf, state.NotImplemented)


def run_session(
    session: Any, names: Sequence[str], feeds: Mapping[str, NDArray[Any]], *, words: str = "forward passes"
) -> list[NDArray[Any]]:
    """The named outputs as arrays. On CUDA inputs and outputs are bound to the device, and each is copied once.

    `words`: the stage of a job that the time belongs to.
    """
    with stage(words):
        if device_of(session) == "cpu":
            return list(session.run(list(names), dict(feeds), _quiet()))
        return run_bound(session, names, feeds, device_of(session))


def device_of(session: Any) -> str:
    """Where a session's tensors lie, as I/O binding names it: 'cuda' or 'cpu'."""
    return "cuda" if session.get_providers()[0] == _CUDA else "cpu"


def run_bound(session: Any, names: Sequence[str], feeds: Mapping[str, NDArray[Any]], device: str) -> list[NDArray[Any]]:
    """As `run_session`, by I/O binding: inputs are OrtValues on `device`, outputs stay there until they are copied."""
    inputs = {name: placed(array, device) for name, array in feeds.items()}
    return [np.asarray(output.numpy()) for output in run_placed(session, names, inputs, device)]


def placed(array: NDArray[Any], device: str) -> Any:
    """An `onnxruntime.OrtValue` of the array on `device`, 'cpu' or 'cuda': the one place where arrays go there.

    On the CPU it is the array's own memory, and not to be changed while the value lives.
    """
    import onnxruntime

    return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), device, 0)


def run_placed(session: Any, names: Sequence[str], inputs: Mapping[str, Any], device: str) -> list[Any]:
    """The named outputs as OrtValues on `device`, of inputs that lie there: nothing is copied."""
    binding = session.io_binding()
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, value)
    for name in names:
        binding.bind_output(name, device, 0)
    session.run_with_iobinding(binding, _quiet())
    return list(binding.get_outputs())


def cuda_settings(options: RuntimeOptions) -> dict[str, str]:
    """Options of ONNX Runtime's CUDA provider."""
    # TF32 would cost three decimal digits, and with them parity with the CPU. The arena grows by what is asked for, so
    # that what is left stays for torch.
    settings = {"device_id": "0", "use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}
    if options.gpu_memory_limit is not None:
        settings["gpu_mem_limit"] = str(options.gpu_memory_limit // 2)
    return settings


def limit_torch_threads(options: RuntimeOptions) -> None:
    """Have torch compute on as many threads as ONNX Runtime may, in all of this process."""
    import torch

    threads = options.intra_op_threads
    if threads is not None and torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def cap_torch(options: RuntimeOptions) -> None:
    """Keep torch within its half of the limit, on the same device: both would else take what the other needs."""
    import torch

    if options.gpu_memory_limit is None or not torch.cuda.is_available():
        return
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(torch_share(options.gpu_memory_limit, total), 0)


def torch_share(limit: int, total: int) -> float:
    """The share of a GPU's `total` bytes that torch may take where this process may take `limit`."""
    return min(1.0, limit / 2 / total)
