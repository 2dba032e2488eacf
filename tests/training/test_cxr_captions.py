"""Template sentences: what is written of labels is what is read from the words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from whyray.errors import PackageError
from whyray.models import read_manifest
from whyray.training.cxr_captions import MENTIONS, SPOKEN, Phrasebook, asked, said
from whyray.training.cxr_data import FINDINGS
from whyray.training.package import name_artefact


@pytest.mark.parametrize("seed", range(5))
def test_labels_written_as_sentences_are_read_back_from_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    book = Phrasebook(FINDINGS)
    labels = rng.integers(0, 2, (6, len(FINDINGS))).astype(float)
    tokens, weights = asked(book, labels, np.full(len(FINDINGS), 7.0), rng)
    assert weights.shape == tokens.shape
    for row, found in zip(labels, tokens, strict=True):
        text = book.text([each for each in found if each not in (book.start, book.end)])
        told = said(text, book)
        for place, name in enumerate(FINDINGS):
            assert told[place] == (row[place] if name in SPOKEN else -1)


def test_presence_weighs_more_at_the_word_that_decides_it() -> None:
    book = Phrasebook(FINDINGS)
    labels = np.zeros((1, len(FINDINGS)))
    labels[0, FINDINGS.index("Mass")] = 1
    heavier = np.full(len(FINDINGS), 7.0)
    _, weights = asked(book, labels, heavier, np.random.default_rng(0))
    assert (weights == 7.0).sum() == 1


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
