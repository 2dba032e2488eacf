"""Template sentences about findings: what the chest captioner learns to write, and what its captions say."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from whyray.base.arrays import DoubleArray

MENTIONS = {
    "Atelectasis": "atelectasis",
    "Cardiomegaly": "enlarged heart",
    "Effusion": "pleural effusion",
    "Infiltration": "infiltration",
    "Mass": "mass",
    "Nodule": "nodule",
    "Pneumonia": "pneumonia",
    "Pneumothorax": "pneumothorax",
    "Consolidation": "consolidation",
    "Edema": "edema",
    "Emphysema": "emphysema",
    "Fibrosis": "fibrosis",
    "Pleural_Thickening": "pleural thickening",
    "Hernia": "hernia",
}
PRESENT, ABSENT = (("there", "is"), ("signs", "of")), (("no",), ("without",))
SECOND = 0.25
"""Share of sentences that open in the second way."""
_SPECIAL = ("<s>", "</s>", ".")


class Phrasebook:
    """The vocabulary, and captions as tokens and back."""

    def __init__(self, findings: Sequence[str]) -> None:
        words = sorted(
            {word for mention in MENTIONS.values() for word in mention.split()} | _opening(PRESENT) | _opening(ABSENT)
        )
        self.findings = tuple(findings)
        self.vocabulary = (*_SPECIAL, *words)
        self.number = {word: place for place, word in enumerate(self.vocabulary)}
        self.start, self.end = self.number["<s>"], self.number["</s>"]
        self.at_most = 80

    def text(self, tokens: Sequence[int]) -> str:
        """Words with spaces; full stops where they belong."""
        return " ".join(self.vocabulary[token] for token in tokens).replace(" .", ".")


def asked(
    book: Phrasebook, present: npt.NDArray[np.bool_], rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], DoubleArray]:
    """Captions (N, T) of findings that are present or not (N, 14), padded with the end, and the weight of each token.

    Each sentence opens in one of two ways, drawn at random: a caption has more than one right wording. The first word
    of a sentence decides between presence and absence and weighs most; padding weighs nothing.
    """
    captions, weights = [], []
    for row in present:
        tokens, weight = [book.start], [0.0]
        for name, there in zip(book.findings, row, strict=True):
            opening = (PRESENT if there else ABSENT)[int(rng.random() < SECOND)]
            sentence = [*opening, *MENTIONS[name].split(), "."]
            tokens += [book.number[word] for word in sentence]
            weight += [1.0] + [0.3] * (len(sentence) - 1)
        captions.append([*tokens, book.end])
        weights.append([*weight, 1.0])
    longest = max(map(len, captions))
    padded = np.array([tokens + [book.end] * (longest - len(tokens)) for tokens in captions], np.int64)
    return padded, np.array([weight + [0.0] * (longest - len(weight)) for weight in weights])


def said(caption: str, book: Phrasebook) -> npt.NDArray[np.int64]:
    """(14,): 1 where the caption states the finding, 0 where it denies it, -1 where it doesn't speak of it."""
    statements = np.full(len(book.findings), -1)
    for sentence in caption.split("."):
        for name, words in MENTIONS.items():
            if re.search(rf"\b{words}\b", sentence):
                denied = any(opening[0] in sentence.split() for opening in ABSENT)
                statements[book.findings.index(name)] = 0 if denied else 1
    return statements


def _opening(forms: Sequence[Sequence[str]]) -> set[str]:
    return {word for form in forms for word in form}
