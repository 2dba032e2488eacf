"""The configuration as a source that is checked against packages and methods whenever it changes.

The check needs the model runtimes: 200 MB that a role which never runs a model must not keep. So it is made in a
process of its own, which ends with it; `python -m whyray.app.checked_source FOLDER` is its program: text in, problems
out. Roles that were started by `whyray serve` rely on its check of the very same text.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

from whyray.app.kept_config import STATE_OF_SUPERVISOR, KeptConfig
from whyray.base.child_process import end_with_parent, how_ended
from whyray.config import Config, ConfigSource, Problem, problems_on_one_machine, read_config

_PROGRAM = "whyray.app.checked_source"
CHECKED_BY_SUPERVISOR = "WHYRAY_CHECKED_CONFIG"
"""Environment variable in which `whyray serve` tells its roles the `fingerprint` of what it has checked."""


def checked_source(path: Path, *, apart: bool, one_machine: bool = False) -> ConfigSource:
    """The file as a source that is read anew when it changes, and refused whole when it can't be met.

    Where it can't be met from the start, the one that was last in force and is kept with the state is.

    Parameters
    ----------
    apart
        Whether the check is made in a process of its own; not where the runtimes are needed anyway.
    one_machine
        Whether all roles run on this machine, as those that `whyray serve` has started know without being told.
    """
    folder = path.absolute().parent
    beside_others = one_machine or STATE_OF_SUPERVISOR in os.environ

    def check(config: Config) -> Sequence[Problem]:
        if os.environ.get(CHECKED_BY_SUPERVISOR) == fingerprint(config, folder):
            return ()
        shared = problems_on_one_machine(config) if beside_others else ()
        return (*shared, *(problems_found_apart(config, folder) if apart else _problems(config)))

    return ConfigSource(path, check=check, keeper=KeptConfig(path))


def fingerprint(config: Config, folder: Path) -> str:
    """What tells one configuration from another: its text, and the absolute folder that its paths are relative to."""
    return hashlib.sha256(os.fsencode(folder) + b"\0" + config.text.encode()).hexdigest()


def problems_found_apart(config: Config, folder: Path) -> Sequence[Problem]:
    """What no package or method that there is can give, found in a process that ends with the check."""
    if not config.routes:
        return ()
    done = subprocess.run(  # nosec B603  # WhyRay itself, without a shell
        [sys.executable, "-m", _PROGRAM, str(folder)],
        input=config.text.encode(),
        stdout=subprocess.PIPE,
        preexec_fn=end_with_parent,
        check=False,
    )
    if done.returncode != 0:
        words = f"packages and methods could not be looked up: the process that does it {how_ended(done.returncode)}"
        return (Problem((), words, None, "the log says more; `whyray config check` makes the same check"),)
    return tuple(
        Problem(tuple(place), message, line, suggestion) for place, message, line, suggestion in json.loads(done.stdout)
    )


def _problems(config: Config) -> Sequence[Problem]:
    from whyray.app.checked_config import registry_problems

    return registry_problems(config)


def _answer(folder: Path) -> None:
    gc.disable()  # it ends before there is any garbage to speak of
    config, problems = read_config(sys.stdin.buffer.read().decode(), folder=folder, read_secrets=False)
    with redirect_stdout(sys.stderr):  # what a package of methods prints when it is imported is no answer
        reported = problems if config is None else _problems(config)
    json.dump([(problem.place, problem.message, problem.line, problem.suggestion) for problem in reported], sys.stdout)


if __name__ == "__main__":
    _answer(Path(sys.argv[1]))
