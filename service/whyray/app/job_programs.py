"""The process of a worker's jobs, started before the worker itself has loaded its libraries and read its configuration.

It takes longer than the worker to be ready, and neither waits for the other: together they take as long as it does.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from whyray.jobs.job_process import JobProcess


def job_process(config: Path, *, memory: int = sys.maxsize) -> JobProcess:
    """One that has not started; `memory` (bytes) as of `JobProcess`: set it before a job is ordered, once known."""
    level = logging.getLevelName(logging.getLogger().getEffectiveLevel()).lower()
    program = (sys.executable, "-m", "whyray", "--log-level", level, "job-process", "--config", str(config))
    return JobProcess(program, memory=memory)
