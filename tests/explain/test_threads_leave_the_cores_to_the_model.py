from __future__ import annotations

from threadpoolctl import threadpool_info, threadpool_limits

from inference import nets
from whyray.explain import explain


def blas_threads() -> set[int]:
    """Of numpy's own library; others come with what is imported later."""
    own = [pool for pool in threadpool_info() if pool["user_api"] == "blas" and "numpy" in pool["filepath"]]
    return {pool["num_threads"] for pool in own}


def test_blas_has_one_thread_while_a_method_runs_and_afterwards_what_it_had_before() -> None:
    model, x = nets.loaded("plain"), nets.image("plain").numpy()
    seen: list[set[int]] = []
    with threadpool_limits(2, user_api="blas"):
        explain(model, x, target="two", method="rise", masks=8, progress=lambda *_: seen.append(blas_threads()))
        after = blas_threads()
    assert seen
    assert all(counts == {1} for counts in seen)
    assert after == {2}
