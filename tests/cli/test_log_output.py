"""What the log of a command leaves out."""

from __future__ import annotations

import logging
import warnings

import pytest
from celery.worker.consumer import consumer

from whyray.cli.log_output import log_to_stderr
from whyray.jobs.queue import celery_app


def test_a_lost_queue_is_told_by_the_worker_alone_and_not_at_each_attempt_by_celery(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A frozen Redis made Celery write a traceback each second."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    monkeypatch.setattr(warnings, "filters", warnings.filters[:])
    log_to_stderr("INFO")
    of_celery = logging.getLogger("celery.worker.consumer.consumer")
    of_celery.critical("Frequent restarts detected: %r", RuntimeError())
    of_celery.error(consumer.CONNECTION_ERROR, "redis://", "refused", "Trying again")
    of_celery.warning("%s (%r)", consumer.CONNECTION_RETRY, TimeoutError())
    of_celery.error("Received unregistered task of type %s.", "another")
    assert "Received unregistered task" in (told := capsys.readouterr().err)
    assert len(told.splitlines()) == 1


def test_celery_warns_of_no_setting_when_the_queue_is_lost() -> None:
    assert celery_app("redis://127.0.0.1:1").conf.worker_cancel_long_running_tasks_on_connection_loss is True
