"""What a process starts with is made without Python's collector of garbage looking through it."""

from __future__ import annotations

import gc
import subprocess
import sys

from whyray.base.uncollected import uncollected


def test_garbage_is_collected_again_afterwards_whatever_happens() -> None:
    assert gc.isenabled()
    try:
        with uncollected():
            assert not gc.isenabled()
            raise KeyError
    except KeyError:
        pass
    assert gc.isenabled()


def test_one_within_another_does_not_begin_to_collect() -> None:
    with uncollected():
        with uncollected():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_what_is_there_for_good_is_looked_through_no_more() -> None:
    code = """
import gc
from whyray.base.uncollected import uncollected
with uncollected():
    made = [[] for _ in range(10_000)]
assert gc.get_freeze_count() == 0
with uncollected(for_good=True):
    made = [[] for _ in range(10_000)]
assert gc.get_freeze_count() > 10_000
"""
    subprocess.run([sys.executable, "-c", code], check=True)
