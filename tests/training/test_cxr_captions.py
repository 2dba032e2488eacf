"""Template sentences: what is written of labels is what is read from the words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from whyray.base.errors import PackageError
from whyray.packages import read_manifest
from whyray_training.cxr_captions import ABSENT, MENTIONS, PRESENT, Phrasebook, asked, said
from whyray_training.cxr_data import FINDINGS
from whyray_training.package import name_artefact


@pytest.mark.parametrize("seed", range(5))
def test_labels_written_as_sentences_are_read_back_from_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    book = Phrasebook(FINDINGS)
    present = rng.integers(0, 2, (6, len(FINDINGS))).astype(bool)
    tokens, weights = asked(book, present, rng)
    assert weights.shape == tokens.shape
    assert tokens.shape[1] <= book.at_most + 1
    for row, caption in zip(present, tokens, strict=True):
        text = book.text([token for token in caption if token not in (book.start, book.end)])
        np.testing.assert_array_equal(said(text, book), row)


def test_the_word_that_decides_between_presence_and_absence_weighs_most() -> None:
    book = Phrasebook(FINDINGS)
    present = np.arange(len(FINDINGS))[None] % 3 == 0
    tokens, weights = asked(book, present, np.random.default_rng(0))
    deciding = {book.number[phrase[0]] for phrase in (*PRESENT, *ABSENT)}
    decides = np.isin(tokens[0], list(deciding))
    assert decides.sum() == len(FINDINGS)
    assert weights[0][decides].min() > weights[0][1:-1][~decides[1:-1]].max()


def test_of_a_finding_that_a_caption_passes_over_nothing_is_read() -> None:
    told = said("there is mass. no enlarged heart.", Phrasebook(FINDINGS))
    assert told[FINDINGS.index("Mass")] == 1
    assert told[FINDINGS.index("Cardiomegaly")] == 0
    assert (told == -1).sum() == len(FINDINGS) - 2


def test_no_mention_is_part_of_another() -> None:
    for name, words in MENTIONS.items():
        assert not [other for other, theirs in MENTIONS.items() if other != name and words in theirs]


def test_an_artefact_is_named_and_whatever_else_the_manifest_says_stays(tmp_path: Path) -> None:
    from explain.units import detectors

    path = detectors.package(tmp_path)
    before = read_manifest(path / "model.yaml")
    name_artefact(path, "units", "units.npz")
    name_artefact(path, "concepts", "concepts.npz")
    after = read_manifest(path / "model.yaml")
    assert after.artefacts == {"concepts": "concepts.npz", "units": "units.npz"}
    assert after.model_copy(update={"artefacts": {}}) == before
    content = yaml.safe_load((path / "model.yaml").read_text())
    (path / "model.yaml").write_text(yaml.safe_dump({**content, "task": "nothing"}))
    with pytest.raises(PackageError):
        read_manifest(path / "model.yaml")
