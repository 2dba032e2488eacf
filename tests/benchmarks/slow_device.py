"""The process of a worker's jobs with a device that takes its time: run as `slow_device.py SECONDS FILE CONFIG FD`.

Each item of a pass takes so many seconds, in which no core works, as on an accelerator. When it began and ended is a
line in FILE, in seconds of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime


def main() -> None:
    """Be that process."""
    seconds, log = float(sys.argv[1]), Path(sys.argv[2])

    class SlowSession(onnxruntime.InferenceSession):
        """Runs a tiny network, and waits."""

        def run(self, output_names: Sequence[str], input_feed: dict[str, Any], run_options: Any = None) -> list[Any]:
            """As its parent, later."""
            start = time.monotonic()
            made: list[Any] = super().run(output_names, input_feed, run_options)
            items = max(len(value) for value in input_feed.values())
            time.sleep(max(0.0, start + seconds * items - time.monotonic()))
            with log.open("a") as file:
                file.write(f"{start} {time.monotonic()}\n")
            return made

    onnxruntime.InferenceSession = SlowSession

    from whyray.app.job_program import run_job_program

    run_job_program(Path(sys.argv[3]), int(sys.argv[4]))


if __name__ == "__main__":
    main()
