"""What the process of a worker's jobs runs: the models, kept between jobs, and what reads, explains and stores."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from functools import lru_cache, partial
from importlib.metadata import distributions
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from whyray.app.context import Context
from whyray.app.tracing import traced_jobs
from whyray.base.errors import ConfigError, PackageError
from whyray.base.uncollected import uncollected
from whyray.jobs.cores import threads_of_a_worker
from whyray.jobs.device_turn import Device
from whyray.jobs.explanation_request import Progress
from whyray.jobs.job_messages import Order
from whyray.jobs.job_process import WorkOnOrder, take_orders
from whyray.jobs.memory_limit import limit_this_process, memory_of_a_job

if TYPE_CHECKING:
    from whyray.config import Config
    from whyray.inference import RuntimeOptions


def run_job_program(path: Path, connection: int) -> None:
    """Do what the worker at the other end of a connection orders, until it is gone."""
    take_orders(Connection(connection), partial(_opened, path))


def _opened(path: Path) -> tuple[dict[str, str], WorkOnOrder]:
    with uncollected(for_good=True):
        context = Context.open(path)
        workers = context.config().workers
        limit_this_process(memory_of_a_job(workers), workers.device)
        refuse_two_runtimes()

        import onnxruntime

        from whyray.inference import Model, load_package
        from whyray.jobs.kept_study import KeptStudy
        from whyray.jobs.worker import JobContext, work_on
        from whyray.results import Templates, load_templates

    refuse_missing_gpu(workers.device)
    options = runtime_options(context.config())
    loaded: dict[str, Model] = {}

    def model(package: str) -> Model:
        """One model a package, and so one session: those that stand beside several packages, too."""
        current = load_package(package, search=context.config().packages.folders, options=options, load=model)
        kept = loaded.get(package)
        if kept is None or kept.package.digest != current.package.digest:
            same = (other for other in loaded.values() if other.package.digest == current.package.digest)
            loaded[package] = kept = next(same, current)
        return kept

    @lru_cache(maxsize=2)
    def templates_in(folder: Path | None) -> Templates:
        return load_templates(folder)

    job_context = JobContext(
        catalog=context.catalog,
        storage=context.storage,
        config=context.config,
        model=model,
        templates=lambda: templates_in(context.config().templates.folder),
        rng=random.Random(),
        studies=KeptStudy(context.storage),
        traced=traced_jobs(context.config(), context.catalog),
    )

    def work(order: Order, progress: Progress, device: Device) -> None:
        context.source.reload_if_changed()
        work_on(job_context, order.job_id, order.owner, progress, device)

    providers = ", ".join(onnxruntime.get_available_providers())
    return {"onnxruntime": onnxruntime.__version__, "providers": providers}, work


def runtime_options(config: Config) -> RuntimeOptions:
    """How models run in the process of one worker's jobs."""
    from whyray.inference import RuntimeOptions

    return RuntimeOptions(
        device=config.workers.device,
        intra_op_threads=threads_of_a_worker(config.workers),
        sharing=config.workers.count,
        artefacts=(config.artefact_folder,),
        cache=config.state / "compiled",
    )


def refuse_two_runtimes(path: Sequence[str] | None = None) -> None:
    """Refuse an installation that holds ONNX Runtime twice: the CPU one would win without a word.

    Raises
    ------
    ConfigError
        If both distributions are installed on `path` (sys.path by default).
    """
    places = list(sys.path if path is None else path)
    names = {str(distribution.metadata["Name"]).lower() for distribution in distributions(path=places)}
    if {"onnxruntime", "onnxruntime-gpu"} <= names:
        raise ConfigError(
            "onnxruntime and onnxruntime-gpu are both installed, so the GPU would not be used",
            advice="pip uninstall --yes onnxruntime onnxruntime-gpu, then install one: '.[cpu]' or '.[gpu]'.",
        )


def refuse_missing_gpu(device: str) -> None:
    """Refuse to work slowly, without a word, where CUDA was asked for and does not load.

    Raises
    ------
    ConfigError
        If `device` is 'cuda' and ONNX Runtime can't use it.
    """
    if device != "cuda":
        return
    from onnx import TensorProto, helper

    from whyray.inference import RuntimeOptions, open_session

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "probe", value[:1], value[1:])
    probe = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    try:
        open_session(probe.SerializeToString(), RuntimeOptions(device="cuda"), name="workers.device")
    except PackageError as error:
        raise ConfigError(error.message, advice=error.advice) from error
