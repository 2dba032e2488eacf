from __future__ import annotations

import threading
from pathlib import Path

import pytest

from whyray.inference.cache import CompiledCache, cache_folder

MADE_OF = {"package": "abc", "torch": "2.13.0"}


class Compiler:
    def __init__(self, content: bytes = b"a graph") -> None:
        self.content, self.runs = content, 0

    def __call__(self) -> bytes:
        self.runs += 1
        return self.content


def test_what_was_compiled_once_is_not_compiled_again(tmp_path: Path) -> None:
    compiler = Compiler()
    for _ in range(3):
        assert CompiledCache(tmp_path).fetch("gradient", MADE_OF, compiler) == b"a graph"
    assert compiler.runs == 1


@pytest.mark.parametrize("change", [{"package": "abd"}, {"torch": "2.14.0"}, {"option": "1"}])
def test_another_graph_another_option_or_another_compiler_is_compiled_anew(
    tmp_path: Path, change: dict[str, str]
) -> None:
    cache = CompiledCache(tmp_path)
    cache.fetch("gradient", MADE_OF, Compiler())
    assert cache.fetch("gradient", MADE_OF | change, Compiler(b"another")) == b"another"
    assert cache.fetch("gradient", MADE_OF, Compiler(b"third")) == b"a graph"


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "lengthened"])
def test_a_damaged_file_is_noticed_and_made_again(tmp_path: Path, damage: str) -> None:
    cache = CompiledCache(tmp_path)
    cache.fetch("gradient", MADE_OF, Compiler())
    path = cache.path("gradient", MADE_OF)
    whole = path.read_bytes()
    flipped = bytes([whole[-1] ^ 1])
    path.write_bytes(
        {"cut": whole[:-1], "flipped": whole[:-1] + flipped, "emptied": b"", "lengthened": whole + b"!"}[damage]
    )
    compiler = Compiler()
    assert cache.fetch("gradient", MADE_OF, compiler) == b"a graph"
    assert compiler.runs == 1
    assert path.read_bytes() == whole


def test_writers_at_the_same_time_leave_one_whole_file_and_no_rubbish(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4096
    start = threading.Barrier(8)
    contents: list[bytes] = []

    def write() -> None:
        start.wait()
        for number in range(20):
            contents.append(CompiledCache(tmp_path).fetch("gradient", {"n": str(number)}, lambda: content))

    writers = [threading.Thread(target=write) for _ in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(contents) == 160
    assert set(contents) == {content}
    assert len(list(tmp_path.iterdir())) == 20


def test_a_folder_that_can_not_be_written_costs_time_and_no_answer(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    compiler = Compiler()
    cache = CompiledCache(tmp_path / "file" / "below")
    assert cache.fetch("gradient", MADE_OF, compiler) == cache.fetch("gradient", MADE_OF, compiler)
    assert compiler.runs == 2


def test_a_cache_of_no_folder_keeps_nothing() -> None:
    compiler = Compiler()
    assert CompiledCache(None).fetch("gradient", MADE_OF, compiler) == b"a graph"
    CompiledCache(None).fetch("gradient", MADE_OF, compiler)
    assert compiler.runs == 2


def test_a_compiler_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def fails() -> bytes:
        raise ValueError("does not export")

    with pytest.raises(ValueError, match="does not export"):
        CompiledCache(tmp_path).fetch("gradient", MADE_OF, fails)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_that_of_the_xdg_standard_and_never_a_relative_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "whyray"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "whyray"
