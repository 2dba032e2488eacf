"""`whyray explain --out` interrupted while it puts its results in place: the old or the new are whole afterwards."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from whyray.base.errors import ConfigError
from whyray.jobs.results_folder import UNFINISHED, results_folder

Content = dict[str, bytes]

STEPS = (os.rename, os.unlink, os.mkdir, os.rmdir)
"""What changes a folder; of these calls each in turn is the one that does not come back."""
MINE = {"mine.txt": b"mine", "notes/mine.txt": b"mine too"}
EARLIER = {"dicom/a.dcm": b"old a", "dicom/same.dcm": b"old", "pictures/a.png": b"old picture"}
LATER = {"dicom/b.dcm": b"new b", "dicom/same.dcm": b"new", "pictures/b.png": b"new picture"}


REFUSED = PermissionError(1, "Operation not permitted")


def made(content: Content, folder: Path) -> None:
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def with_report(content: Content) -> Content:
    return content | {"report.json": json.dumps({"whyray": "1", "files": list(content)}).encode()}


def run(out: Path, content: Content, *, overwrite: bool = True) -> None:
    with results_folder(out, overwrite=overwrite) as folder:
        made(with_report(content), folder.making)
        folder.finish()


def content_of(folder: Path) -> Content:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def before(out: Path, earlier: Content) -> Content:
    """A folder with the earlier results, if any, beside files of the user's own; what it holds."""
    made(MINE, out)
    if earlier:
        run(out, earlier)
    return content_of(out)


@contextmanager
def no_step_after(number: int, ends: Callable[[int], None]) -> Iterator[list[str]]:
    """In front of every step from this one on `ends` is called, with how many were so before; what was called."""
    done: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for one in STEPS:

            def step(*given: object, real: Callable[..., None] = one, **more: object) -> None:
                done.append(real.__name__)
                if len(done) > number:
                    ends(len(done) - number - 1)
                real(*given, **more)

            patch.setattr(os, one.__name__, step)
        yield done


def interrupted(out: Path, number: int, ends: Callable[[int], None]) -> bool:
    """A run that is interrupted in front of a step of its end; whether it had so many steps."""
    with ExitStack() as stack:
        folder = stack.enter_context(results_folder(out, overwrite=True))
        made(with_report(LATER), folder.making)
        the_rest = stack.pop_all()
    with no_step_after(number, ends) as done, the_rest:
        folder.finish()
    return len(done) > number


def once(error: BaseException) -> Callable[[int], None]:
    def ends(failed: int) -> None:
        if not failed:
            raise error

    return ends


def always(error: BaseException) -> Callable[[int], None]:
    def ends(failed: int) -> None:
        raise error

    return ends


def again_after(steps: int, error: BaseException) -> Callable[[int], None]:
    def ends(failed: int) -> None:
        if not failed or failed > steps:
            raise error

    return ends


def test_the_runs_of_these_tests_replace_each_other(tmp_path: Path) -> None:
    before(tmp_path, EARLIER)
    run(tmp_path, LATER)
    assert content_of(tmp_path) == MINE | with_report(LATER)


@pytest.mark.parametrize("earlier", [{}, EARLIER], ids=["into an empty folder", "over earlier results"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")], ids=repr)
def test_what_fails_at_any_step_of_the_end_leaves_all_as_it_was_or_is_to_be(
    error: BaseException, earlier: Content, tmp_path: Path
) -> None:
    for number in range(100):
        out = tmp_path / str(number)
        was = before(out, earlier)
        try:
            if not interrupted(out, number, once(error)):
                break
        except type(error):
            now = {name: data for name, data in content_of(out).items() if not name.startswith(UNFINISHED)}
            assert now in (was, MINE | with_report(LATER)), f"step {number}"
            assert not (out / UNFINISHED).exists() or now != was
        run(out, EARLIER)
        assert content_of(out) == MINE | with_report(EARLIER)
    assert number > 4


@pytest.mark.parametrize("earlier", [{}, EARLIER], ids=["into an empty folder", "over earlier results"])
@pytest.mark.parametrize("how", ["killed", "nothing works any more"])
def test_a_later_run_finds_old_or_new_results_whole_even_if_it_fails_itself(
    how: str, earlier: Content, tmp_path: Path
) -> None:
    for number in range(100):
        out = tmp_path / str(number)
        was = before(out, earlier)
        ended = killed(out, number) if how == "killed" else failed(out, number, always(REFUSED))
        if not ended:
            break
        assert MINE.items() <= content_of(out).items()
        run_that_fails(out)
        assert content_of(out) in (was, MINE | with_report(LATER)), f"step {number}"
        run(out, EARLIER)
        assert content_of(out) == MINE | with_report(EARLIER)
    assert number > 4


@pytest.mark.parametrize("steps", range(6))
def test_interrupted_twice_in_the_end_and_in_what_puts_it_right(steps: int, tmp_path: Path) -> None:
    for number in range(100):
        out = tmp_path / str(number)
        was = before(out, EARLIER)
        if not failed(out, number, again_after(steps, REFUSED)):
            break
        run_that_fails(out)
        assert content_of(out) in (was, MINE | with_report(LATER)), f"step {number}"


def run_that_fails(out: Path) -> None:
    """A run that is given a torn image."""
    with pytest.raises(ZeroDivisionError), results_folder(out, overwrite=True):
        raise ZeroDivisionError


def failed(out: Path, number: int, ends: Callable[[int], None]) -> bool:
    """A run in which a step of its end fails; whether it had so many."""
    try:
        return interrupted(out, number, ends)
    except PermissionError:
        return True


def killed(out: Path, number: int) -> bool:
    """A run in a process that is killed in front of a step; whether it was."""
    child = os.fork()
    if not child:
        try:
            interrupted(out, number, lambda _: os.kill(os.getpid(), signal.SIGKILL))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("name", ["dicom/b.dcm", "pictures/b.png"])
def test_a_file_that_somebody_puts_in_a_result_s_place_during_a_run_is_left_alone(name: str, tmp_path: Path) -> None:
    was = before(tmp_path, EARLIER)
    with results_folder(tmp_path, overwrite=True) as folder:
        made(with_report(LATER), folder.making)
        made({name: b"mine"}, tmp_path)
        with pytest.raises(ConfigError, match=name):
            folder.finish()
    assert content_of(tmp_path) == was | {name: b"mine"}


def test_a_file_that_somebody_puts_beside_results_during_a_run_stays(tmp_path: Path) -> None:
    before(tmp_path, EARLIER)
    with results_folder(tmp_path, overwrite=True) as folder:
        made(with_report(LATER), folder.making)
        made({"dicom/mine.dcm": b"mine"}, tmp_path)
        folder.finish()
    assert content_of(tmp_path) == MINE | with_report(LATER) | {"dicom/mine.dcm": b"mine"}


def test_a_run_killed_while_it_wrote_its_report_leaves_no_dead_end(tmp_path: Path) -> None:
    was = before(tmp_path, EARLIER)
    made(LATER | {"report.json": b'{"whyray": "1", "fil'}, tmp_path / UNFINISHED)
    run_that_fails(tmp_path)
    assert content_of(tmp_path) == was


def test_a_file_that_somebody_puts_where_a_replaced_one_lay_is_none_of_a_killed_run_s(tmp_path: Path) -> None:
    """The run was killed after all was in its place, before it cleared away what it had replaced."""
    before(tmp_path, LATER)
    made({"replaced/report.json": with_report(EARLIER)["report.json"]}, tmp_path / UNFINISHED)
    made({"dicom/a.dcm": b"mine"}, tmp_path)
    was = content_of(tmp_path)
    with pytest.raises(ConfigError, match=r"dicom/a\.dcm"):
        run(tmp_path, LATER)
    assert content_of(tmp_path) == was


def test_a_folder_under_a_name_that_a_report_lists_is_nobody_s_result(tmp_path: Path) -> None:
    before(tmp_path, EARLIER)
    (tmp_path / "dicom" / "a.dcm").unlink()
    made({"dicom/a.dcm/mine": b"mine"}, tmp_path)
    was = content_of(tmp_path)
    with pytest.raises(ConfigError, match=r"dicom/a\.dcm"):
        run(tmp_path, LATER)
    assert content_of(tmp_path) == was


def test_without_leave_to_overwrite_what_a_killed_run_left_stays_as_it_is(tmp_path: Path) -> None:
    before(tmp_path, EARLIER)
    assert killed(tmp_path, 4)
    left = content_of(tmp_path)
    with pytest.raises(ConfigError, match="interrupted run"), results_folder(tmp_path):
        pass
    assert content_of(tmp_path) == left
