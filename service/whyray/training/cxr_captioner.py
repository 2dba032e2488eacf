"""Train the chest captioner: `python -m whyray.training.cxr_captioner --data DIR --findings DIR --out DIR`.

A small recurrent decoder behind the frozen embedding of cxr-findings. It learns template sentences made of what a
published model finds: it is there to show captioner packages and how their words are held against the model's answers.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import torch
import typer
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional

from whyray.models import Captioner, Model, RuntimeOptions, load_package, tapped
from whyray.training.cxr_augment import augment, plain
from whyray.training.cxr_captioner_card import captioner_card, captioner_manifest
from whyray.training.cxr_captions import Phrasebook, asked, said
from whyray.training.cxr_data import FINDINGS, FloatArray, Radiographs, load_radiographs, patient_folds
from whyray.training.package import halve_weights, write_package

INPUT_SIZE = 224


@dataclass(frozen=True)
class Recipe:
    """The numbers that a run can change.

    `copies` are augmented copies of each radiograph; `components` are kept of the embedding.
    """

    copies: int = 1
    components: int = 24
    width: int = 64
    steps: int = 400
    batch: int = 64
    rate: float = 2e-3
    decay: float = 0.05
    dropout: float = 0.4


class Decoder(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """memory (N, 1520) and tokens (N, T) to logits (N, T, vocabulary).

    The memory is projected onto its first principal components (fixed), scaled, and given to a GRU with each token.
    """

    def __init__(self, words: int, mean: FloatArray, axes: FloatArray, recipe: Recipe) -> None:
        super().__init__()
        self.mean: Tensor
        self.axes: Tensor
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("axes", torch.tensor(axes, dtype=torch.float32))
        self.seen = nn.Linear(axes.shape[1], recipe.width)
        self.words = nn.Embedding(words, recipe.width)
        self.recurrent = nn.GRU(2 * recipe.width, recipe.width, batch_first=True)
        self.drop = nn.Dropout(recipe.dropout)
        self.next = nn.Linear(2 * recipe.width, words)

    def forward(self, memory: Tensor, tokens: Tensor) -> Tensor:
        """Logits of the token behind each."""
        seen = torch.tanh(self.seen(self.drop((memory - self.mean) @ self.axes)))
        beside = seen[:, None].expand(-1, tokens.shape[1], -1)
        state, _ = self.recurrent(torch.cat([self.words(tokens), beside], dim=2))
        return self.next(self.drop(torch.cat([state, beside], dim=2)))


def main(
    data: Annotated[Path, typer.Option(help="Folder that holds nih-cxr.")],
    findings: Annotated[Path, typer.Option(help="Package folder of cxr-findings, whose embedding is taken.")],
    out: Annotated[Path, typer.Option(help="Package folder NAME/VERSION to write; made where it is missing.")],
    folds: Annotated[int, typer.Option(help="Cross-validation folds, split by patient.")] = 5,
    limit: Annotated[int | None, typer.Option(help="Only the first so many radiographs: a trial run.")] = None,
    steps: Annotated[int, typer.Option(help="Steps of each training run.")] = Recipe.steps,
    seed: Annotated[int, typer.Option(help="Of splits, weights, augmentation and sentences.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads of torch and of ONNX Runtime.")] = 1,
) -> None:
    """Train the captioner, measure it by cross-validation, and write the package."""
    torch.set_num_threads(threads)
    recipe, console = Recipe(steps=steps), Console()
    model = load_package(findings, options=RuntimeOptions(intra_op_threads=threads))
    radiographs = load_radiographs(data / "nih-cxr", limit)
    memories, answers = _memories(model, radiographs, recipe, seed)
    thresholds = np.array([each.threshold for each in model.manifest.targets])
    taught = _taught(radiographs)
    book = Phrasebook(FINDINGS)
    fold_of = patient_folds(radiographs.patients, folds, seed)
    captions: list[str] = [""] * len(radiographs)
    for fold in np.unique(fold_of):
        train, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        decoder = _trained(memories[:, train], taught[train], thresholds, book, recipe, seed)
        for each in test:
            captions[each] = _greedy(decoder, memories[0, each], book)
    measured = _measured(captions, radiographs.labels, answers >= thresholds, book)
    decoder = _trained(memories, taught, thresholds, book, recipe, seed)
    out.mkdir(parents=True, exist_ok=True)
    _write_encoder(model, out / "model.onnx")
    _write_decoder(decoder, memories.shape[2], out / "decoder.onnx")
    (out / "vocabulary.txt").write_text("\n".join(book.vocabulary) + "\n", encoding="utf-8")
    metrics = {
        "seed": seed,
        "folds": folds,
        "radiographs": len(radiographs),
        "recipe": recipe.__dict__,
        "vocabulary": len(book.vocabulary),
        "held out": measured,
        "examples": captions[:3],
    }
    write_package(out, captioner_manifest(book), metrics, captioner_card(metrics))
    metrics["onnx agrees"] = _agrees(out, decoder, radiographs, memories, book, threads)
    write_package(out, captioner_manifest(book), metrics, captioner_card(metrics))
    console.print(metrics, markup=False)


def _memories(model: Model, radiographs: Radiographs, recipe: Recipe, seed: int) -> tuple[FloatArray, FloatArray]:
    """Embeddings (1 + copies, N, D), of the radiographs as they are first; and the model's answers (N, 14)."""
    random = torch.Generator().manual_seed(seed)
    name = str(model.manifest.output.embedding)
    rows, answers = [], []
    for copy in range(1 + recipe.copies):
        found = []
        for start in range(0, len(radiographs), 8):
            part = torch.from_numpy(radiographs.images[start : start + 8])
            x = (augment(part, INPUT_SIZE, random) if copy else plain(part, INPUT_SIZE)).numpy()
            taps = tapped(model, x, [name, model.logits_name])
            found.append(taps[name].reshape(len(part), -1))
            if not copy:
                answers.append(model.answer(taps[model.logits_name]))
        rows.append(np.concatenate(found))
    return np.stack(rows).astype(np.float64), np.concatenate(answers).astype(np.float64)


def _taught(radiographs: Radiographs) -> FloatArray:
    """(N, 14) 0 or 1: what sentences are made of. The published model's findings, cut so that each is as frequent as
    among the NIH's labels: from single labels mined from text, 399 radiographs taught nothing that held on others."""
    counts = radiographs.labels.sum(axis=0).astype(int)
    order = np.argsort(np.argsort(-np.nan_to_num(radiographs.teacher, nan=-np.inf), axis=0), axis=0)
    return np.asarray(order < counts, np.float64)


def _trained(
    memories: FloatArray, labels: FloatArray, thresholds: FloatArray, book: Phrasebook, recipe: Recipe, seed: int
) -> Decoder:
    """A decoder of memories (copies, N, D) and labels (N, 14).

    At the word that decides whether a finding is there, presence weighs (1 - t) / t times absence, t being the
    explained model's threshold, so that the greedy choice crosses where that model's answer does.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    flat = memories.reshape(-1, memories.shape[2])
    mean = flat.mean(axis=0)
    _, scales, axes = np.linalg.svd(memories[0] - mean, full_matrices=False)
    kept = min(recipe.components, len(scales))
    projection = axes[:kept].T * (np.sqrt(len(memories[0])) / np.maximum(scales[:kept], 1e-9))
    decoder = Decoder(len(book.vocabulary), mean, projection, recipe)
    optimiser = torch.optim.AdamW(decoder.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, recipe.steps)
    heavier = (1 - thresholds) / np.maximum(thresholds, 1e-3)
    for _ in range(recipe.steps):
        rows = rng.integers(0, labels.shape[0], recipe.batch)
        copies = rng.integers(0, len(memories), recipe.batch)
        tokens, weights = asked(book, labels[rows], np.minimum(heavier, 20.0), rng)
        memory = torch.tensor(memories[copies, rows], dtype=torch.float32)
        logits = decoder(memory, torch.from_numpy(tokens[:, :-1]))
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


def _greedy(decoder: Decoder, memory: FloatArray, book: Phrasebook) -> str:
    tokens = [book.start]
    with torch.no_grad():
        while len(tokens) <= book.at_most:
            fed = torch.tensor(memory[None], dtype=torch.float32), torch.tensor([tokens])
            best = int(decoder(*fed)[0, -1].argmax())
            if best == book.end:
                break
            tokens.append(best)
    return book.text(tokens[1:])


def _measured(
    captions: list[str], labels: FloatArray, answers: np.ndarray[Any, Any], book: Phrasebook
) -> dict[str, Any]:
    """What held-out captions say of findings, against the NIH's labels and against the explained model's answers."""
    told = np.stack([said(each, book) for each in captions])
    mentioned = told >= 0
    present = told == 1
    found: dict[str, Any] = {
        "captions that differ": len(set(captions)),
        "findings mentioned in a caption": round(float(mentioned.sum(axis=1).mean()), 2),
    }
    for name, truth in (("NIH labels", labels == 1), ("cxr-findings", answers)):
        both = present & truth & mentioned
        found[name] = {
            "agreement": round(float((present == truth)[mentioned].sum() / max(1, mentioned.sum())), 3),
            "precision of presence": round(float(both.sum() / max(1, present.sum())), 3),
            "recall of presence": round(float(both.sum() / max(1, (truth & mentioned).sum())), 3),
            "agreement of saying always absent": round(float((~truth)[mentioned].sum() / max(1, mentioned.sum())), 3),
        }
    return found


def _write_encoder(model: Model, path: Path) -> None:
    """The graph of cxr-findings up to its embedding, large weights as halves."""
    cut = model.graph.cut(model.graph.input, str(model.manifest.output.embedding))
    shape = ["N", *model.graph.shapes[cut.graph.output[0].name][1:]]
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


def _agrees(
    out: Path,
    decoder: Decoder,
    radiographs: Radiographs,
    memories: FloatArray,
    book: Phrasebook,
    threads: int,
) -> str:
    """How many of the first captions are the same by ONNX Runtime, from the picture on, as by torch."""
    captioner = Captioner(load_package(out, options=RuntimeOptions(intra_op_threads=threads)))
    count = min(20, len(radiographs))
    pictures = plain(torch.from_numpy(radiographs.images[:count]), INPUT_SIZE).numpy()[:, 0]
    same = sum(
        captioner.caption(picture).text == _greedy(decoder, memory, book)
        for picture, memory in zip(pictures, memories[0], strict=False)
    )
    return f"{same} of {count}"


if __name__ == "__main__":
    typer.run(main)
