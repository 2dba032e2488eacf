"""Where the log of a command goes, and what of it is not shown."""

from __future__ import annotations

import logging
import sys
import warnings

_NOISY = ("alembic", "httpx", "kombu", "celery", "amqp", "PIL", "uvicorn", "onnx_ir")
"""These log data sets, connections, SQL or each pass over a graph at INFO."""
_REPEATING = ("kombu.transport.redis",)
"""These log the same warning with its stack each second; the worker says once itself why the queue is of no use."""
_TOLD_ONCE = ("consumer: Cannot connect", "consumer: Connection to broker lost", "Frequent restarts detected")
"""With a traceback at each attempt by Celery's consumer; the worker says once itself why no message comes, and when the
queue is back."""
_QUOTING = ("pydicom", "pynetdicom", "highdicom")
"""What these log quotes data elements; what matters of it is told as WhyRay's own errors."""


def log_to_stderr(level: str) -> None:
    """Log to standard error from this level on, e.g. 'INFO'; at 'DEBUG' all that libraries log, too."""
    logging.basicConfig(
        level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    if level != "DEBUG":
        for noisy in _NOISY:
            logging.getLogger(noisy).setLevel(logging.WARNING)
        for repeating in _REPEATING:
            logging.getLogger(repeating).setLevel(logging.ERROR)
        # a level would not do: pydicom sets its own when it is imported
        for handler in logging.getLogger().handlers:
            handler.addFilter(_quotes_nothing)
            handler.addFilter(_is_no_repeated_loss)
        for quoting in _QUOTING:
            warnings.filterwarnings("ignore", module=quoting)


def _quotes_nothing(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] not in _QUOTING


def _is_no_repeated_loss(record: logging.LogRecord) -> bool:
    return not (record.name.startswith("celery.worker.consumer") and record.getMessage().startswith(_TOLD_ONCE))
