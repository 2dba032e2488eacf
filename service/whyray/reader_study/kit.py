"""A reader-study kit: a folder with a manifest and pictures for readers, and the truth in a file of its own.

`study.json` names cases by opaque numbers; no UID, name, date or truth is in it or in the pictures' names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from whyray.base.errors import ConfigError, NotFound
from whyray.reader_study.design import Condition

MANIFEST = "study.json"
PICTURES = "pictures"
INSTRUCTIONS = "instructions.txt"
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Model = TypeVar("Model", bound=_Written)


class Choice(_Written):
    """One possible answer."""

    value: str
    label: str


class Scale(_Written):
    """The scale of confidence, from `lowest` to `highest`, with words for both ends."""

    lowest: int = 1
    highest: int = 5
    at_lowest: str = "guessing"
    at_highest: str = "certain"


class KitCase(_Written):
    """One case: pictures of the image, pictures of its explanations, and what the model says in words."""

    number: str
    image: tuple[str, ...] = Field(min_length=1)
    explanation: tuple[str, ...] = Field(min_length=1)
    said: str


class KitShowing(_Written):
    """A case and its condition."""

    case: str
    condition: Condition


class KitReader(_Written):
    """A place for a reader, and what is shown there."""

    reader: str
    sessions: tuple[tuple[KitShowing, ...], ...]


class Manifest(_Written):
    """What a kit says of itself; all that the web form needs.

    `control`: what is shown without explanation: the image and the model's answer, or the image alone.
    """

    format: Literal["whyray-reader-study/1"] = "whyray-reader-study/1"
    name: Name
    title: str
    question: str
    choices: tuple[Choice, Choice] = (
        Choice(value="present", label="Present"),
        Choice(value="absent", label="Not present"),
    )
    confidence: Scale = Scale()
    control: Literal["answer", "image"] = "answer"
    going_back: bool = False
    crossover: bool = False
    washout_days: int = Field(0, ge=0)
    seed: int
    made_at: datetime
    made_by: str
    instructions: str
    cases: tuple[KitCase, ...]
    readers: tuple[KitReader, ...]

    @model_validator(mode="after")
    def _complete(self) -> Manifest:
        numbers = [case.number for case in self.cases]
        if len(set(numbers)) != len(numbers):
            raise ValueError("a case number is given twice")
        for reader in self.readers:
            for session in reader.sessions:
                if sorted(showing.case for showing in session) != sorted(numbers):
                    raise ValueError(f"{reader.reader} does not see each case once a session")
        return self

    def case(self, number: str) -> KitCase:
        """The case of that number."""
        return next(case for case in self.cases if case.number == number)

    def place(self, reader: str) -> KitReader:
        """The place of that name; NotFound if the kit has none."""
        for place in self.readers:
            if place.reader == reader:
                return place
        names = ", ".join(place.reader for place in self.readers)
        raise NotFound(f"study {self.name} has no reader {reader!r}", advice=f"Its readers are: {names}.")


class TrueCase(_Written):
    """What is kept from readers: where a case comes from, its truth, and what the model said."""

    number: str
    source: str
    truth: bool
    model_says: bool
    probability: float | None = None
    package: str
    methods: tuple[str, ...]
    grades: tuple[str | None, ...] = ()


class Truth(_Written):
    """The truth about all cases of a kit. `source` names studies: it stays with who leads the study."""

    format: Literal["whyray-reader-study-truth/1"] = "whyray-reader-study-truth/1"
    name: Name
    target: str
    seed: int
    cases: tuple[TrueCase, ...]


def write_kit(folder: Path, manifest: Manifest, pictures: Mapping[str, bytes]) -> None:
    """Write manifest, pictures (name → PNG) and instructions; the folder must be empty or new.

    Raises ConfigError otherwise: pictures of another kit must not stay among these.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty", advice="Name a new folder for the kit.")
    (folder / PICTURES).mkdir(parents=True, exist_ok=True)
    for name, png in pictures.items():
        (folder / PICTURES / name).write_bytes(png)
    (folder / INSTRUCTIONS).write_text(manifest.instructions + "\n", "utf-8")
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", "utf-8")


def write_truth(path: Path, truth: Truth) -> None:
    """Write the truth so that only its owner reads it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(truth.model_dump_json(indent=1) + "\n", "utf-8")


def read_kit(folder: Path) -> tuple[Manifest, dict[str, bytes]]:
    """The manifest and the pictures that it names.

    Raises
    ------
    NotFound, ConfigError
        If there is no kit, its manifest can't be read, or a picture is missing.
    """
    manifest = _read(folder / MANIFEST, Manifest)
    pictures = {}
    for case in manifest.cases:
        for name in (*case.image, *case.explanation):
            path = folder / PICTURES / name
            if Path(name).name != name or not path.is_file():
                raise ConfigError(
                    f"the kit names the picture {name!r}, which is not in it", advice="Export the kit again."
                )
            pictures[name] = path.read_bytes()
    return manifest, pictures


def read_truth(path: Path) -> Truth:
    """The truth file; NotFound or ConfigError where it can't be read."""
    return _read(path, Truth)


def _read(path: Path, kind: type[Model]) -> Model:
    try:
        return kind.model_validate_json(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}", advice="`whyray study export` writes it.") from error
    except (ValidationError, json.JSONDecodeError, UnicodeDecodeError) as error:
        said = (
            "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()[:5])
            if isinstance(error, ValidationError)
            else type(error).__name__
        )
        raise ConfigError(
            f"{path} is no {kind.__name__.lower()} of a reader study: {said}",
            advice="Take the file as `whyray study export` wrote it, or make the kit again.",
        ) from error
