from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from running import Running

Start = Callable[..., Running]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Start]:
    """Starts the whole service on a configuration; stops it when the test ends."""
    with ExitStack() as stack:

        def start(config: dict[str, Any], **options: Any) -> Running:
            running = Running(tmp_path / "whyray", config, **options)
            stack.callback(running.stop)
            running.start()
            return running

        yield start
