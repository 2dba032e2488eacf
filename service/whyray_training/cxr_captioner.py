"""Train the chest captioner: `python -m whyray_training.cxr_captioner --data DIR --findings DIR --out DIR`.

A small recurrent decoder behind the frozen embedding of cxr-findings. It learns to put into template sentences what
cxr-findings itself answers: it adds wording and no second opinion, and shows captioner packages at work.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional

from whyray.base.arrays import DoubleArray
from whyray.inference import Captioner, Model, RuntimeOptions, load_package
from whyray_training.cxr_augment import augment, plain
from whyray_training.cxr_captioner_card import captioner_card, captioner_manifest
from whyray_training.cxr_captioner_figures import against, each_finding, follow_the_image, told_in
from whyray_training.cxr_captions import Phrasebook, asked
from whyray_training.cxr_data import FINDINGS, Radiographs, load_radiographs, load_small_radiographs, patient_folds
from whyray_training.package import halve_weights, write_package

INPUT_SIZE = 224
PROJECTED = 3.0
"""Standard deviations of the projected answers: that the decoder's tanh tells those at the threshold apart."""
COMPARED = 100
"""Captions compared between ONNX Runtime and torch."""
OTHERS = 200
"""Radiographs of other patients (nih-cxr-64) that the written package is measured on."""
EMPTY = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class Recipe:
    """The numbers that a run can change.

    `copies` are augmented copies of each radiograph, each with its own answers; `ridge` is that of the projection, as
    a share of the embedding's mean variance.
    """

    copies: int = 24
    ridge: float = 1e-6
    width: int = 64
    steps: int = 2000
    batch: int = 64
    rate: float = 3e-3
    decay: float = 0.01


class Decoder(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """memory (N, 1520) and tokens (N, T) to logits (N, T, vocabulary).

    The memory is projected onto as many numbers as there are findings (fixed: see `projection`), and given to a GRU
    with each token. As Vinyals et al. 2015, section 3, but the image is seen at every word, not before the first only.
    """

    def __init__(self, words: int, axes: DoubleArray, offset: DoubleArray, width: int) -> None:
        super().__init__()
        self.axes: Tensor
        self.offset: Tensor
        self.register_buffer("axes", torch.tensor(axes, dtype=torch.float32))
        self.register_buffer("offset", torch.tensor(offset, dtype=torch.float32))
        self.seen = nn.Linear(axes.shape[1], width)
        self.words = nn.Embedding(words, width)
        self.recurrent = nn.GRU(2 * width, width, batch_first=True)
        self.judge = nn.Linear(2 * width, width)
        self.next = nn.Linear(width, words)

    def forward(self, memory: Tensor, tokens: Tensor) -> Tensor:
        """Logits of the token behind each."""
        seen = torch.tanh(self.seen(memory @ self.axes + self.offset))
        beside = seen[:, None].expand(-1, tokens.shape[1], -1)
        state, _ = self.recurrent(torch.cat([self.words(tokens), beside], dim=2))
        return self.next(torch.relu(self.judge(torch.cat([state, beside], dim=2))))


@dataclass(frozen=True)
class Lessons:
    """What is learned from: memories (C, N, D), copies of N radiographs, those as they are first; and of each copy
    `margins` (C, N, 14), the log odds that cxr-findings answers above those of the finding's threshold."""

    memories: DoubleArray
    margins: DoubleArray

    def of(self, rows: NDArray[np.int64]) -> Lessons:
        """All copies of these radiographs."""
        return Lessons(self.memories[:, rows], self.margins[:, rows])


def main(
    data: Annotated[Path, typer.Option(help="Folder that holds nih-cxr and nih-cxr-64.")],
    findings: Annotated[Path, typer.Option(help="Package folder of cxr-findings, whose embedding is taken.")],
    out: Annotated[Path, typer.Option(help="Package folder NAME/VERSION to write; made where it is missing.")],
    folds: Annotated[int, typer.Option(help="Cross-validation folds, split by patient.")] = 5,
    limit: Annotated[int | None, typer.Option(help="Only the first so many radiographs: a trial run.")] = None,
    copies: Annotated[int, typer.Option(help="Augmented copies of each radiograph.")] = Recipe.copies,
    steps: Annotated[int, typer.Option(help="Steps of each training run.")] = Recipe.steps,
    seed: Annotated[int, typer.Option(help="Of splits, weights, augmentation, sentences and intervals.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads of torch and of ONNX Runtime.")] = 1,
) -> None:
    """Train the captioner, measure it by cross-validation, and write the package."""
    torch.set_num_threads(threads)
    recipe, console = Recipe(copies=copies, steps=steps), Console()
    model = load_package(findings, options=RuntimeOptions(intra_op_threads=threads))
    radiographs = load_radiographs(data / "nih-cxr", limit)
    lessons = _lessons(model, radiographs, recipe, seed)
    book = Phrasebook(FINDINGS)
    fold_of = patient_folds(radiographs.patients, folds, seed)
    captions: list[str] = [""] * len(radiographs)
    for fold in np.unique(fold_of):
        train, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        decoder = trained(lessons.of(train), book, recipe, seed)
        for row, caption in zip(test, written(decoder, lessons.memories[0, test], book), strict=True):
            captions[row] = caption
        console.print(f"fold {fold}: {captions[test[0]]}", markup=False)
    told, answered = told_in(captions, book), lessons.margins[0] >= 0
    decoder = trained(lessons, book, recipe, seed)
    metrics: dict[str, Any] = {
        "seed": seed,
        "folds": folds,
        "radiographs": len(radiographs),
        "recipe": asdict(recipe),
        "vocabulary": len(book.vocabulary),
        "held out": against(told, answered, seed),
        "labels": against(told, radiographs.labels == 1, seed),
        "findings": each_finding(told, answered, book),
        "examples": captions[:3],
    }
    out.mkdir(parents=True, exist_ok=True)
    _write_encoder(model, out / "model.onnx")
    _write_decoder(decoder, lessons.memories.shape[2], out / "decoder.onnx")
    (out / "vocabulary.txt").write_text("\n".join(book.vocabulary) + "\n", encoding="utf-8")
    write_package(out, captioner_manifest(book), metrics, "to be measured\n")
    package = Captioner(load_package(out, options=RuntimeOptions(intra_op_threads=threads)))
    empty = [package.caption(np.full((INPUT_SIZE, INPUT_SIZE), level, np.float32)).text for level in EMPTY]
    metrics["the image"] = follow_the_image(captions, empty)
    metrics["package"] = _package_figures(package, decoder, lessons.memories[0], radiographs, book)
    others = load_small_radiographs(data / "nih-cxr-64", limit)
    metrics["others"] = _on_others(package, model, others, book, seed)
    write_package(out, captioner_manifest(book), metrics, captioner_card(metrics))
    console.print(metrics, markup=False)


def projection(lessons: Lessons, ridge: float) -> tuple[DoubleArray, DoubleArray]:
    """(D, 14) and (14,): memory to margins of the answers over their spread, by ridge regression on all copies.

    The answers are affine in the embedding, so where copies outnumber its dimensions this finds the head of
    cxr-findings again, from its answers alone.
    """
    memories = lessons.memories.reshape(-1, lessons.memories.shape[2])
    margins = lessons.margins.reshape(-1, lessons.margins.shape[2])
    wanted = PROJECTED * margins / margins.std(axis=0)
    mean, middle = memories.mean(axis=0), wanted.mean(axis=0)
    centred = memories - mean
    gram = centred.T @ centred
    gram[np.diag_indices_from(gram)] += ridge * np.trace(gram) / len(gram)
    axes = np.linalg.solve(gram, centred.T @ (wanted - middle))
    return axes, middle - mean @ axes


def trained(lessons: Lessons, book: Phrasebook, recipe: Recipe, seed: int) -> Decoder:
    """A decoder that writes of each copy what cxr-findings answers of it."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    decoder = Decoder(len(book.vocabulary), *projection(lessons, recipe.ridge), recipe.width)
    optimiser = torch.optim.AdamW(decoder.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, recipe.steps)
    memories = torch.tensor(lessons.memories.reshape(-1, lessons.memories.shape[2]), dtype=torch.float32)
    present = lessons.margins.reshape(-1, lessons.margins.shape[2]) >= 0
    for _ in range(recipe.steps):
        rows = rng.integers(0, len(present), recipe.batch)
        tokens, weights = asked(book, present[rows], rng)
        logits = decoder(memories[rows], torch.from_numpy(tokens[:, :-1]))
        losses = functional.cross_entropy(
            logits.flatten(0, 1), torch.from_numpy(tokens[:, 1:]).flatten(), reduction="none"
        )
        weight = torch.tensor(weights[:, 1:], dtype=torch.float32).flatten()
        loss = (losses * weight).sum() / weight.sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    decoder.eval()
    return decoder


def written(decoder: Decoder, memories: DoubleArray, book: Phrasebook) -> list[str]:
    """Captions of memories (N, D), decoded greedily, all at once."""
    seen = torch.tensor(memories, dtype=torch.float32)
    tokens = torch.full((len(seen), 1), book.start)
    with torch.no_grad():
        for _ in range(book.at_most):
            tokens = torch.cat([tokens, decoder(seen, tokens)[:, -1].argmax(dim=1, keepdim=True)], dim=1)
    rows = [row[1:] for row in tokens.tolist()]
    return [book.text(row[: row.index(book.end)] if book.end in row else row) for row in rows]


def _lessons(model: Model, radiographs: Radiographs, recipe: Recipe, seed: int) -> Lessons:
    random = torch.Generator().manual_seed(seed)
    name = str(model.manifest.output.embedding)
    memories, margins = [], []
    for copy in range(1 + recipe.copies):
        embedded, answers = [], []
        for start in range(0, len(radiographs), 8):
            part = torch.from_numpy(radiographs.images[start : start + 8])
            x = (augment(part, INPUT_SIZE, random) if copy else plain(part, INPUT_SIZE)).numpy()
            taps = model.session.tapped(x, [name, model.network.logits_name])
            embedded.append(taps[name].reshape(len(part), -1))
            answers.append(_margins(model, model.answer(taps[model.network.logits_name])))
        memories.append(np.concatenate(embedded))
        margins.append(np.concatenate(answers))
    return Lessons(np.stack(memories).astype(np.float64), np.stack(margins))


def _margins(model: Model, answers: NDArray[np.float32]) -> DoubleArray:
    """(N, 14): log odds of probabilities above those of the thresholds; at or above 0 where a finding is present."""
    thresholds = np.array([target.threshold for target in model.manifest.targets])
    chances = np.clip(answers.astype(np.float64), 1e-12, 1 - 1e-12)
    return np.asarray(np.log(chances / (1 - chances)) - np.log(thresholds / (1 - thresholds)))


def _package_figures(
    package: Captioner, decoder: Decoder, memories: DoubleArray, radiographs: Radiographs, book: Phrasebook
) -> dict[str, int]:
    """How many captions of the written package (ONNX Runtime, halved weights) are torch's, from the picture on."""
    pictures = plain(torch.from_numpy(radiographs.images[:COMPARED]), INPUT_SIZE).numpy()[:, 0]
    same = [
        package.caption(picture).text == caption
        for picture, caption in zip(pictures, written(decoder, memories[:COMPARED], book), strict=True)
    ]
    return {"compared": len(same), "same": sum(same)}


def _on_others(package: Captioner, model: Model, others: Radiographs, book: Phrasebook, seed: int) -> dict[str, object]:
    """The written package on radiographs of patients that it never saw."""
    rows = np.unique(np.linspace(0, len(others) - 1, min(OTHERS, len(others))).astype(int))
    pictures = plain(torch.from_numpy(others.images[rows]), INPUT_SIZE).numpy()
    captions = [package.caption(picture[0]).text for picture in pictures]
    answered = np.concatenate([_margins(model, model.predict(picture[None])) for picture in pictures]) >= 0
    agreement = against(told_in(captions, book), answered, seed)
    return {"patients": len(np.unique(others.patients[rows])), **agreement}


def _write_encoder(model: Model, path: Path) -> None:
    """The graph of cxr-findings up to its embedding, large weights as halves."""
    cut = model.network.graph.cut(model.network.graph.input, str(model.manifest.output.embedding))
    shape = ["N", *model.network.graph.shapes[cut.graph.output[0].name][1:]]
    cut.graph.output[0].CopyFrom(
        onnx.helper.make_tensor_value_info(cut.graph.output[0].name, onnx.TensorProto.FLOAT, shape)
    )
    halve_weights(cut)
    onnx.save(cut, path)


def _write_decoder(decoder: Decoder, width: int, path: Path) -> None:
    example = (torch.zeros(1, width), torch.zeros(1, 3, dtype=torch.int64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is the older exporter: the present one unrolls no GRU of open length
        torch.onnx.export(
            decoder,
            example,
            path,
            dynamo=False,
            input_names=["memory", "tokens"],
            output_names=["logits"],
            dynamic_axes={"memory": {0: "n"}, "tokens": {0: "n", 1: "t"}, "logits": {0: "n", 1: "t"}},
        )


if __name__ == "__main__":
    typer.run(main)
