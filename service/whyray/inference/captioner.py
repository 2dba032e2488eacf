"""A captioner package: an encoder, a decoder and a vocabulary, in ONNX Runtime, decoded greedily."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.base.errors import ModelOutputError, PackageError
from whyray.base.stages import stage
from whyray.inference.display import as_input
from whyray.inference.model import Model
from whyray.inference.session import open_session, runtime_errors
from whyray.packages import CaptionSpec

_PUNCTUATION = frozenset(".,;:!?)")


@dataclass(frozen=True)
class Caption:
    """What the captioner wrote of one image.

    Attributes
    ----------
    text
        All of it.
    tokens
        Numbers of the tokens, without start and end.
    probabilities
        The decoder's probability of each of them, given those before.
    finished
        Whether the decoder came to an end by itself, and not by the limit of length.
    """

    text: str
    tokens: tuple[int, ...]
    probabilities: tuple[float, ...]
    finished: bool

    @property
    def sentences(self) -> tuple[str, ...]:
        """The text cut behind full stops; what was broken off by the limit of length is left out."""
        sentences = re.findall(r"[^.!?]+[.!?]", self.text)
        rest = re.sub(r"[^.!?]+[.!?]", "", self.text).strip()
        if rest and self.finished:
            sentences.append(rest)
        return tuple(sentence.strip() for sentence in sentences)


class Captioner:
    """A model whose package's task is `captioner`.

    Raises PackageError for a package of another task, or one whose decoder or vocabulary is not as `CaptionSpec` says.
    """

    def __init__(self, model: Model) -> None:
        if model.task != "captioner" or model.manifest.caption is None:
            raise PackageError(
                f"{model.identity}: expected a captioner, found a package for {model.task}",
                advice="Name a captioner package under companions.captioner in model.yaml.",
            )
        self.model = model
        self.spec: CaptionSpec = model.manifest.caption

    def caption(self, picture: FloatArray) -> Caption:
        """What it writes of a picture (*spatial) in 0..1 as displayed, on the package's own grid.

        Greedy: at each step the likeliest token, so that the same picture gives the same words. Ends at the end token
        or at the limit of length.
        """
        name = self.model.manifest.output.name
        x = as_input(picture[None], self.model.manifest.input)
        memory = self.model.session.tapped(x, [name])[name]
        numbers = [self._number(self.spec.start)]
        end = self._number(self.spec.end)
        probabilities: list[float] = []
        while len(probabilities) < self.spec.at_most:
            chances = self._next(memory, numbers)
            best = int(chances.argmax())
            if best == end:
                return Caption(self._text(numbers[1:]), tuple(numbers[1:]), tuple(probabilities), True)
            numbers.append(best)
            probabilities.append(float(chances[best]))
        return Caption(self._text(numbers[1:]), tuple(numbers[1:]), tuple(probabilities), False)

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """All tokens, by number."""
        path = self.model.package.artefact("vocabulary")
        try:
            tokens = tuple(path.read_text("utf-8").splitlines())
        except (OSError, UnicodeDecodeError) as error:
            raise PackageError(f"{path}: not readable as UTF-8: {error}", advice="Write a token a line.") from error
        if not all(tokens) or len(set(tokens)) != len(tokens):
            raise PackageError(f"{path}: tokens must differ and none may be empty", advice="Write a token a line.")
        return tokens

    def _next(self, memory: FloatArray, numbers: list[int]) -> FloatArray:
        """(vocabulary,): probability of each token behind these."""
        fed = {self.spec.memory: memory, self.spec.tokens: np.array([numbers], np.int64)}
        try:
            with stage("forward passes"):
                logits = np.asarray(self._decoder.run([self.spec.logits], fed)[0], np.float32)
        except runtime_errors() as error:
            raise PackageError(
                f"{self.model.identity}: the decoder does not run: {error}",
                advice="Give it the inputs and the output that `caption` in model.yaml names.",
            ) from error
        last = logits.reshape(-1, logits.shape[-1])[-1]
        if len(last) != len(self.vocabulary):
            raise PackageError(
                f"{self.model.identity}: the decoder knows {len(last)} tokens, the vocabulary {len(self.vocabulary)}",
                advice="Put the vocabulary of this decoder into the package.",
            )
        if not np.isfinite(last).all():
            raise ModelOutputError(f"{self.model.identity}: the decoder's answer has NaN or infinite values")
        shifted = np.exp(last - last.max())
        return np.asarray(shifted / shifted.sum(), np.float32)

    def _text(self, numbers: list[int]) -> str:
        text = ""
        for number in numbers:
            token = self.vocabulary[number]
            if token.startswith("##"):
                text += token.removeprefix("##")
            else:
                text += token if not text or token in _PUNCTUATION else f" {token}"
        return text

    def _number(self, token: str) -> int:
        if token not in self.vocabulary:
            raise PackageError(
                f"{self.model.identity}: the vocabulary has no {token!r}",
                advice="Name the tokens for start and end in caption, as the vocabulary writes them.",
            )
        return self.vocabulary.index(token)

    @property
    def _decoder(self) -> Any:
        path = self.model.package.artefact("decoder")
        return self.model.once(
            "caption decoder", lambda: open_session(path.read_bytes(), self.model.options, name=str(path))
        )
