"""The files that `whyray explain` and `whyray route test` are given: which of them are images, and these read."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset

from whyray.base.errors import DecodeError, ImageError
from whyray.base.shown import shown_path
from whyray.imaging import (
    SEGMENTATIONS,
    WRAPPED,
    OnProgress,
    Refusal,
    StudyImages,
    counted,
    is_nifti,
    is_picture,
    other_object,
    passed_over,
    read_images,
    sop_class_of,
    wrap_nifti,
    wrap_picture,
)
from whyray.jobs.own_results import RESULT, is_own_page, listed_as_results
from whyray.jobs.results_folder import UNFINISHED

_PREAMBLE = 128
_FIRST_TAGS = tuple(
    bytes((group, 0, element, 0))
    for group, elements in ((2, (0, 1, 2)), (8, (0, 1, 5, 8, 18, 22)))
    for element in elements
)
"""With one of these a file without preamble begins (PS3.5 section 7.1: in ascending order), little endian."""
_DICOM_ENDINGS = (".dcm", ".dicom")
_MOST_NAMED = 3


def instance_files(paths: Iterable[Path]) -> list[Path]:
    """The DICOM files among `paths` and in the folders among them; a file that is named is taken as it is.

    Raises
    ------
    ImageError
        If there is none.
    """
    files: list[Path] = []
    for path in paths:
        files += [file for file in _files_in(path) if _claims_to_be_dicom(file)] if path.is_dir() else [path]
    if not files:
        raise ImageError("no DICOM file among the paths given", advice="Name .dcm files or a folder that holds some.")
    return files


def _files_in(folder: Path) -> list[Path]:
    """The files in a folder to the bottom, sorted; none that a run of `whyray explain` is still making, or left so."""
    found: list[Path] = []
    for inside, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != UNFINISHED]
        found += [Path(inside, name) for name in names if not name.startswith("._")]
    return [path for path in sorted(found) if path.is_file()]


def _claims_to_be_dicom(path: Path) -> bool:
    """Whether a file says by its first bytes or its name that it is DICOM, so that it is used, or refused by name."""
    if path.suffix.lower() in _DICOM_ENDINGS:
        return True
    try:
        with path.open("rb") as file:
            head = file.read(_PREAMBLE + 4)
    except OSError:
        return True  # one that can't be read is named where it is read, beside those that can
    return head[_PREAMBLE:] == b"DICM" or head.startswith(_FIRST_TAGS)


@dataclass(frozen=True)
class SortedFiles:
    """Files by what they are: images (and what can't be told), segmentations, and the kinds of what is neither."""

    images: tuple[Path, ...]
    segmentations: tuple[Path, ...]
    others: tuple[str, ...]


def sorted_files(
    paths: Iterable[Path], *, volumes: bool = False, without: Collection[Path] = frozenset()
) -> SortedFiles:
    """Tell images from what lies beside them: a DICOMDIR, reports, documents, presentation states, other files.

    A file that is named is taken as it is; of a folder, what is DICOM, or, where nothing is, PNG and JPEG pictures,
    and, with `volumes`, NIfTI volumes; but no result of WhyRay, and none of `without`, which are resolved paths.

    Raises
    ------
    ImageError
        If there is no image among them, naming what there is.
    """
    images: list[Path] = []
    segmentations: list[Path] = []
    others: list[str] = []
    files: list[Path] = []
    searched: set[Path] = set()
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        inside = [file for file in _files_in(path) if not without or file.resolve() not in without]
        results = listed_as_results(inside)
        inside = [file for file in inside if file not in results]
        others += [RESULT] * len(results)
        taken = [file for file in inside if _claims_to_be_dicom(file)]
        taken = taken or [file for file in inside if is_picture(file) or (volumes and is_nifti(file))]
        files += taken
        searched |= set(taken)
        others += [_kind_of_file(file) for file in inside if file not in set(taken)]
    for path in files:
        sop_class, has_size = sop_class_of(path)
        if sop_class in SEGMENTATIONS:
            segmentations.append(path)
        elif (name := other_object(sop_class, has_size=has_size)) is not None:
            others.append(name)
        elif path in searched and is_own_page(path, sop_class):
            others.append(RESULT)
        else:
            images.append(path)
    if not images:
        kinds = [*others, *["Segmentation"] * len(segmentations)]
        words = f"no DICOM file, PNG or JPEG picture{' or NIfTI volume' * volumes} among the paths given"
        if kinds:
            number = f"{len(kinds)} file{'s' if len(kinds) > 1 else ''}"
            words = f"expected an image, found none in {number}: {counted(kinds)}"
        what = f"PNG or JPEG pictures,{' NIfTI volumes,' * volumes}"
        advice = f"Name DICOM files, {what} or a folder that holds some."
        if kinds == ["DICOMDIR"]:
            advice = "A DICOMDIR is a table of contents: name the folder in which it lies."
        raise ImageError(words, advice=advice)
    return SortedFiles(tuple(images), tuple(segmentations), tuple(others))


def _kind_of_file(path: Path) -> str:
    if is_picture(path):
        return "picture"
    return f"file that is not DICOM ({shown_path(path.suffix) or 'no ending'})"


@dataclass(frozen=True)
class InputImages:
    """What images were read from files: `study` with what was refused of it, and `unreadable`, files before that.

    `remarks`: what a reader has to know of how they were read, and what lay beside them.
    """

    study: StudyImages
    unreadable: tuple[Refusal, ...]
    remarks: tuple[str, ...]

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """Files and instances that are not used, and why."""
        return (*self.unreadable, *self.study.refusals)


def read_input(files: SortedFiles, modality: str | None, on_reading: OnProgress) -> InputImages:
    """Read the images among the files; `modality` is that of NIfTI volumes.

    Raises
    ------
    ImageError
        If none of them can be used, or a modality is named and no file is a NIfTI volume.
    """
    if modality is not None and not any(map(is_volume, files.images)):
        raise ImageError(
            f"the modality {modality} is named, and no NIfTI volume among the files: DICOM says its own, and "
            "pictures are taken as radiographs",
            advice="Leave --modality out.",
        )
    sources, remarks, unreadable = _sources(files.images, modality)
    if (beside := passed_over(files.others)) is not None:
        remarks += (beside,)
    if unreadable and not sources:
        raise _none_usable(unreadable)
    images = InputImages(read_images(sources, on_reading), unreadable, remarks)
    if not images.study.images and images.refusals:
        raise _none_usable(images.refusals)
    return images


def is_volume(path: Path) -> bool:
    """Whether a file is a NIfTI volume, and no DICOM file."""
    return is_nifti(path) and not _claims_to_be_dicom(path)


def _sources(
    files: Iterable[Path], modality: str | None
) -> tuple[list[Path | Dataset], tuple[str, ...], tuple[Refusal, ...]]:
    """Instances, pictures and volumes wrapped as such; what is to be told of these; and those that can't be taken."""
    sources: list[Path | Dataset] = []
    notes: list[str] = []
    refused: list[Refusal] = []
    for path in files:
        try:
            if is_picture(path):
                sources.append(wrap_picture(path))
                notes.append(f"{shown_path(path.name)}: {WRAPPED}")
            elif is_volume(path):
                wrapped = wrap_nifti(path, modality)
                sources += wrapped.instances
                notes.append(f"{shown_path(path.name)}: {wrapped.remarks}")
            else:
                sources.append(path)
        except ImageError as error:
            refused.append(Refusal((), error, path))
        except OSError as error:
            words = f"expected a readable file, found {error.strerror or type(error).__name__}"
            refused.append(Refusal((), DecodeError(words, advice="Check the file's rights."), path))
    return sources, tuple(notes), tuple(refused)


def refusal_words(refusal: Refusal) -> str:
    """Which file is not used, and why."""
    return f"{_place(refusal)}{refusal.error.code}: {refusal.error.message}"


def _place(refusal: Refusal) -> str:
    """The file's name with a colon, unless the message begins with it."""
    name = "" if refusal.source is None else f"{shown_path(refusal.source.name)}: "
    return "" if refusal.error.message.startswith(name) else name


def _none_usable(refusals: Sequence[Refusal]) -> ImageError:
    """The first refusal's error, with the names of the files that can't be used."""
    first = refusals[0].error
    kind = type(first) if isinstance(first, ImageError) else ImageError
    words = [f"{_place(refusal)}{refusal.error.message}" for refusal in refusals[:_MOST_NAMED]]
    more = len(refusals) - len(words)
    return kind("; ".join(words) + (f"; and {more} more" if more else ""), advice=first.advice)
