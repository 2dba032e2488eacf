"""What a study comes back as: objects, series and MB, as `make sizes` writes them into docs/viewers.md.

`python tests/benchmarks/result_sizes.py PAGE` renews the table between the marks of PAGE; without PAGE it is printed.
Models are those that come with WhyRay, on a radiograph of pydicom-data and a head CT phantom of 140 slices; the frames
of an ultrasound clip have made maps, since no bundled package takes ultrasound.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.uid import JPEG2000Lossless

import synthetic
from results.answers import a_map, answer_about, blob, centre_of
from whyray.compression.lossless import LosslessCompression
from whyray.config import DEFAULT_KINDS, DicomDestination, ResultKind
from whyray.demo.phantom import Scan, write_phantom
from whyray.demo.studies import sample
from whyray.explain import expanded
from whyray.imaging import read_images
from whyray.inference import RuntimeOptions, load_package
from whyray.jobs.explanation_request import ExplanationRequest
from whyray.jobs.files import explain_files
from whyray.packages import TargetSpec
from whyray.results import EVERY_KIND, Finding, build_run_results, encode, load_templates
from whyray_docs.marks import with_part

BEGIN, END = "<!-- table: sizes -->", "<!-- end -->"
_NINE_TYPES = {
    "cxr-findings": ("preferred", "region-shares", "similar-cases", "latent-position", "latent-shift", "narrative"),
    "cxr-abnormal": ("concept-bottleneck", "unit-report"),
    "cxr-prototypes": ("prototypes",),
}
_DEFAULT = DicomDestination(ae_title="ARCHIVE", host="127.0.0.1").transfer_syntaxes
_NO_COMPRESSION = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1"})


@dataclass(frozen=True)
class Row:
    """One study with one choice of explanations and kinds; `files` are the objects that came of it."""

    name: str
    source: int
    files: tuple[bytes, ...]

    def cells(self) -> tuple[str, ...]:
        """Name, objects, series, MB of the source, plain, as an archive that takes everything gets them, and with JPEG
        2000 before all others; the share of the source that the last but one is."""
        headers = [dcmread(BytesIO(file), stop_before_pixels=True) for file in self.files]
        series = {str(header.SeriesInstanceUID) for header in headers}
        pairs = list(zip(self.files, headers, strict=True))
        sent = sum(len(as_sent(file, header, _DEFAULT)) for file, header in pairs)
        smaller = sum(len(as_sent(file, header, (str(JPEG2000Lossless), *_DEFAULT))) for file, header in pairs)
        plain, share = sum(map(len, self.files)), f"{sent / self.source:.0%}"
        sizes = mb(self.source), mb(plain), mb(sent), mb(smaller)
        return (self.name, str(len(headers)), str(len(series)), *sizes, share)


def mb(size: int) -> str:
    """Of bytes."""
    return f"{size / 1e6:.1f}"


def as_sent(file: bytes, header: Dataset, wanted: Sequence[str]) -> bytes:
    """In the first of a destination's transfer syntaxes that the object can go in."""
    compression = LosslessCompression()
    possible = compression.syntaxes(str(header.SOPClassUID))
    first = next((syntax for syntax in wanted if syntax in possible or syntax in _NO_COMPRESSION), wanted[-1])
    return file if first in _NO_COMPRESSION else compression.compressed(file, first)


def explained(
    paths: Sequence[Path], requests: dict[str, Sequence[str]], kinds: Sequence[ResultKind]
) -> list[tuple[str, bytes]]:
    """The objects that `whyray explain` makes of these files, with their kinds."""
    files: list[tuple[str, bytes]] = []
    for package, names in requests.items():
        model = load_package(package, options=RuntimeOptions(device="cpu"))
        request = ExplanationRequest(
            methods=expanded({name: {} for name in names}, model), targets="present", seed=0, language="en"
        )
        with tempfile.TemporaryDirectory() as folder:
            explain_files(
                paths,
                model,
                request,
                Path(folder),
                templates=load_templates(),
                at=datetime(2026, 1, 1, tzinfo=UTC),
                progress=lambda *_: None,
                kinds=kinds,
            )
            made = sorted((Path(folder) / "dicom").iterdir())
            files += [(path.name.split("-")[0], path.read_bytes()) for path in made]
    return files


def clip(kinds: Sequence[ResultKind]) -> Row:
    """16 frames of 600 x 800 pixels, one finding on each."""
    pixels = np.random.default_rng(0).integers(0, 255, (16, 600, 800), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        (path,) = synthetic.write([synthetic.cine(pixels)], Path(folder))
        size, frames = path.stat().st_size, read_images([path]).or_raise()
    target = TargetSpec(name="Effusion", threshold=0.5)
    answers = [
        answer_about(
            frame, [Finding(target, present=True, probability=0.9, maps=(a_map(frame, blob(frame, centre_of(frame))),))]
        )
        for frame in frames
    ]
    made = build_run_results(answers, kinds, load_templates())
    return Row("multi-frame ultrasound, 16 frames, default", size, tuple(encode(result.dataset) for result in made))


def rows() -> Iterable[Row]:
    """All studies of the table."""
    film = Path(sample("RG1_UNCR.dcm"))
    size = film.stat().st_size
    one = explained([film], {"cxr-findings": ("preferred",)}, DEFAULT_KINDS)
    yield Row("chest radiograph, default", size, tuple(file for _, file in one))
    nine = explained([film], _NINE_TYPES, EVERY_KIND)
    default = tuple(file for kind, file in nine if kind in DEFAULT_KINDS)
    yield Row("chest radiograph, nine types, default", size, default)
    yield Row("chest radiograph, nine types, every kind", size, tuple(file for _, file in nine))
    with tempfile.TemporaryDirectory() as folder:
        scan = replace(Scan(), slices=140, distance=1.2, size=512, spacing=(0.45, 0.45))
        paths = write_phantom(Path(folder), scan)
        source = sum(path.stat().st_size for path in paths)
        files = explained(paths, {"head-ct-tissue": ("preferred",)}, DEFAULT_KINDS)
    yield Row("head CT, 140 slices, default", source, tuple(file for _, file in files))
    yield clip(DEFAULT_KINDS)


def table() -> str:
    """The table in Markdown."""
    header = (
        "study and explanations",
        "objects",
        "series",
        "source, MB",
        "results, MB",
        "sent, MB",
        "by JPEG 2000",
        "of the source",
    )
    lines = [header, tuple("---" for _ in header), *(row.cells() for row in rows())]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Print the table, or renew it in the page that is named."""
    made = table()
    if len(sys.argv) < 2:
        sys.stdout.write(made + "\n")
        return
    page = Path(sys.argv[1])
    page.write_text(with_part(page.read_text("utf-8"), BEGIN, END, made), "utf-8")


if __name__ == "__main__":
    main()
