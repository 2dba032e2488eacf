"""`whyray study`: does an explanation help people? Kits for readers, the web form, and what the answers say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whyray.base.errors import ConfigError, NotFound
from whyray.base.shown import shown_path
from whyray.base.sources import system_clock
from whyray.cli.options import DEFAULT_CONFIG, ConfigFile

if TYPE_CHECKING:
    from whyray.catalog import Catalog
    from whyray.reader_study.analysis import Analysis
    from whyray.storage import Storage

app = typer.Typer(
    no_args_is_help=True,
    help="Reader studies (for one study of a PACS: `whyray status --study UID`). Does an explanation help people? "
    "Export, read on the page, analyse.",
)
_ACTOR = "command line"
Name = Annotated[str, typer.Argument(help="Name of the study.")]


class Control(StrEnum):
    """What readers see without explanation."""

    answer = "answer"
    image = "image"


@app.command()
def export(
    target: Annotated[str, typer.Option("--target", "-t", help="The finding that readers are asked about.")],
    truth: Annotated[
        Path,
        typer.Option(
            help="CSV file with the columns case and truth (1 or 0); case: a Study or SOP Instance UID, or a file's "
            "name without its ending."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the kit; new or empty.")],
    name: Annotated[str, typer.Option(help="Name of the study: small letters, digits, hyphens.")] = "reader-study",
    title: Annotated[str, typer.Option(help="Its title, as readers see it.")] = "Reader study",
    question: Annotated[
        str | None, typer.Option(help="The question about each case. [default: Is TARGET present?]")
    ] = None,
    readers: Annotated[int, typer.Option(min=1, max=99, help="How many readers; an even number balances best.")] = 4,
    package: Annotated[list[str] | None, typer.Option("--package", "-p", help="Only answers of this package.")] = None,
    method: Annotated[list[str] | None, typer.Option("--method", "-m", help="Only explanations by this one.")] = None,
    control: Annotated[
        Control, typer.Option(help="Without explanation: the model's answer beside the image, or the image alone.")
    ] = Control.answer,
    crossover: Annotated[bool, typer.Option(help="A second session with the conditions swapped.")] = False,
    washout: Annotated[int, typer.Option(min=0, help="Days between the sessions of a crossover.")] = 28,
    going_back: Annotated[bool, typer.Option(help="Let readers change answers.")] = False,
    cases: Annotated[int | None, typer.Option(min=2, help="At most so many cases, drawn by the seed.")] = None,
    wrong: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of cases in which the model is wrong.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draw and the order.")] = 0,
    explained: Annotated[
        list[Path] | None, typer.Option(help="A folder that `whyray explain` wrote, instead of the catalog; repeat it.")
    ] = None,
    images: Annotated[
        list[Path] | None, typer.Option(help="The files, or folders of files, that it was given; with --explained.")
    ] = None,
    keep_truth: Annotated[
        Path | None, typer.Option(help="File for the truth; beside the kit by default, never in it.")
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Make a kit for readers: cases with and without explanation, blinded, in a random order for each reader.

    Cases come from the catalog's finished jobs, or from folders that `whyray explain` wrote. Names, UIDs and dates are
    left out of the kit; the truth is kept in a file of its own. Look at all pictures before you hand a kit on: text
    that is part of an image's pixels can't be found by its attributes.

    Examples:

    * `whyray study export -t Cardiomegaly --truth truth.csv --readers 6 --wrong 0.3 -o kit/`
    * `whyray study export -t Effusion --truth truth.csv --explained out/ --images films/ -o kit/`

    Exit code 0: all cases are in it; 1: some were left out, and why; 2: no kit could be made.
    """
    from rich.console import Console

    from whyray.reader_study import MaterialFilter, Order, make_kit, read_truths, write_kit, write_truth
    from whyray.reader_study.material import from_catalog, from_folders

    wanted = MaterialFilter(target, tuple(package or ()), tuple(method or ()))
    truths = read_truths(truth)
    kept = keep_truth or out.with_name(f"{out.name}.truth.json")
    if kept.resolve().is_relative_to(out.resolve()):
        raise ConfigError("the truth may not lie in the kit", advice="Name a file outside of it: --keep-truth.")
    if kept.exists():  # without its truth, the kit that it belongs to can't be analysed
        raise ConfigError(
            f"{shown_path(kept)} is there: the truth of an earlier kit", advice="Name another file: --keep-truth."
        )
    if explained:
        from whyray.cli.screen import image_files

        gathered = from_folders(explained, image_files(images) if images else (), wanted)
    else:
        with _context(config) as (catalog, storage), catalog.read() as session:
            gathered = from_catalog(session, storage, wanted)
    order = Order(
        name=name,
        title=title,
        target=target,
        readers=readers,
        seed=seed,
        question=question,
        control=control.value,
        crossover=crossover,
        washout_days=washout,
        going_back=going_back,
        most=cases,
        wrong=wrong,
    )
    kit = make_kit(gathered.material, truths, order, at=system_clock())
    write_kit(out, kit.manifest, kit.pictures)
    write_truth(kept, kit.truth)
    console = Console(highlight=False, soft_wrap=True)
    right = sum(case.truth == case.model_says for case in kit.truth.cases)
    console.print(
        f"{len(kit.truth.cases)} cases for {readers} readers in {shown_path(out)}; the model is right in {right}",
        markup=False,
    )
    console.print(f"the truth is in {kept}: keep it from the readers", markup=False)
    left_out = (*gathered.left_out, *kit.left_out)
    for reason in left_out:
        console.print(f"left out: {reason}", markup=False)
    if left_out:
        raise typer.Exit(1)


@app.command(name="import")
def import_(
    kit: Annotated[Path, typer.Argument(help="Folder of a kit.")],
    reader: Annotated[list[str], typer.Option("--reader", "-r", help="PLACE=LOG-IN, e.g. R1=ada; one for each.")],
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Take a kit into the catalog, for the form on the admin page; it stays closed until `whyray study open`.

    Log-ins are those of the configuration's admin section; give readers `role: reader`, and they see nothing but
    their study.

    Example: `whyray study import kit/ --reader R1=ada --reader R2=grace`.

    Exit code 0: it is there; 2: it could not be taken.
    """
    from rich.console import Console

    from whyray.reader_study import read_kit
    from whyray.reader_study.register import register

    manifest, pictures = read_kit(kit)
    users = _assigned(reader)
    with _context(config) as (catalog, storage):
        keys = {name: storage.put_bytes(png, suffix=".png") for name, png in pictures.items()}
        with catalog.begin() as session:
            register(session, manifest, keys, users, catalog.clock(), actor=_ACTOR)
    Console(highlight=False).print(f"{manifest.name}: closed; let readers in with `whyray study open {manifest.name}`")


def _assigned(given: list[str]) -> dict[str, str]:
    users = {}
    for assignment in given:
        place, _, user = assignment.partition("=")
        if not place or not user or place in users:
            raise ConfigError(
                f"--reader {assignment}: expected PLACE=LOG-IN, each place once", advice="e.g. --reader R1=ada"
            )
        users[place] = user
    return users


@app.command(name="open")
def open_(name: Name, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Let readers in.

    Example: `whyray study open reader-study`.

    Exit code 0: it is open; 2: there is no such study.
    """
    from whyray.reader_study.register import open_study

    with _context(config) as (catalog, _), catalog.begin() as session:
        open_study(session, name, catalog.clock(), actor=_ACTOR)


@app.command()
def close(name: Name, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Let readers in no more; their answers stay.

    Example: `whyray study close reader-study`.

    Exit code 0: it is closed; 2: there is no such study.
    """
    from whyray.reader_study.register import close_study

    with _context(config) as (catalog, _), catalog.begin() as session:
        close_study(session, name, catalog.clock(), actor=_ACTOR)


@app.command()
def show(name: Name, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Show how far each reader is; what they answered stays unseen.

    Example: `whyray study show reader-study`.

    Exit code 0: every reader is through; 1: some are not; 2: no such study.
    """
    from rich.console import Console
    from rich.table import Table

    from whyray.reader_study.register import find, is_open, progress

    with _context(config) as (catalog, _), catalog.read() as session:
        study = find(session, name)
        rows = progress(study)
        words = "open" if is_open(study) else "closed"
    table = Table(title=f"{name}: {words}")
    for column in ("place", "log-in", "agreed", "answered", "interrupted", "last answer"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(
            row.reader,
            row.user,
            "yes" if row.consented_at else "no",
            f"{row.answered} of {row.total}",
            str(row.interrupted),
            f"{row.last_answer_at:%Y-%m-%d %H:%M}" if row.last_answer_at else "–",
        )
    Console().print(table)
    if any(row.answered < row.total for row in rows):
        raise typer.Exit(1)


@app.command()
def analyse(
    answers: Annotated[str, typer.Argument(help="Name of a study in the catalog, or an answers file (JSON).")],
    truth: Annotated[Path, typer.Option(help="The truth file that the export wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for report.json, report.html and answers.json.")],
    draws: Annotated[int, typer.Option(min=100, help="Draws of the bootstrap.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Say what the answers show: accuracy, confidence, time, agreement and reliance, with and without explanation.

    Differences come with 95 % intervals by bootstrap over readers and cases. Answers are written by place (R1, R2,
    …), so that they can be analysed elsewhere.

    Example: `whyray study analyse reader-study --truth kit.truth.json -o report/`.

    Exit code 0: every reader is through; 1: answers are missing; 2: there is nothing to analyse.
    """
    from whyray.reader_study import read_truth
    from whyray.reader_study.analysis import analyse as analyse_answers
    from whyray.reader_study.answers import Answers, answers_of, read_answers, write_answers
    from whyray.reader_study.register import find
    from whyray.reader_study.report import report_page, report_values

    known = read_truth(truth)
    given: Answers
    if answers.endswith(".json"):
        given = read_answers(Path(answers))
    else:
        with _context(config) as (catalog, _), catalog.read() as session:
            given = answers_of(find(session, answers))
    if given.study != known.name:
        raise ConfigError(
            f"the answers are those of {given.study!r}, the truth is that of {known.name!r}",
            advice="Give the truth file that was exported with this study's kit.",
        )
    analysis = analyse_answers(given.facts, known, draws=draws, seed=seed)
    at = system_clock()
    out.mkdir(parents=True, exist_ok=True)
    values = report_values(analysis, known, at=at, draws=draws, seed=seed)
    (out / "report.json").write_text(json.dumps(values, indent=1) + "\n", "utf-8")
    (out / "report.html").write_text(report_page(analysis, known, at=at, draws=draws, seed=seed), "utf-8")
    write_answers(out / "answers.json", given)
    _print(analysis, out)
    if len(given.facts) < given.expected:
        typer.echo(f"{given.expected - len(given.facts)} of {given.expected} answers are missing")
        raise typer.Exit(1)


def _print(analysis: Analysis, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from whyray.reader_study.report import words_of

    table = Table(title="with and without explanation")
    for column in ("measure", "with", "without", "difference", "says"):
        table.add_column(column, overflow="fold")
    for row in words_of(analysis):
        table.add_row(row["name"], row["with"], row["without"], row["difference"], row["verdict"])
    console = Console(highlight=False)
    console.print(table)
    for note in analysis.notes:
        console.print(note, markup=False)
    console.print(f"{out / 'report.html'}: the same as a page; research, not for diagnostic use", markup=False)


@contextmanager
def _context(config: Path) -> Iterator[tuple[Catalog, Storage]]:
    from whyray.app.context import sealing_keys
    from whyray.catalog import Catalog
    from whyray.config import load_config
    from whyray.storage import open_folder

    if not config.is_file():
        raise NotFound(f"there is no configuration {config}", advice="Name it with --config, or use --explained.")
    settings = load_config(config)
    settings.state.mkdir(parents=True, exist_ok=True)
    keys = sealing_keys(settings)
    storage = open_folder(settings.storage_folder, keys)
    catalog = Catalog(settings.catalog_url, keys=keys)
    try:
        yield catalog, storage
    finally:
        catalog.close()
