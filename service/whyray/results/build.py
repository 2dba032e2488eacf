"""Makes all DICOM results of one answer, in the order in which they refer to each other."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from pydicom import Dataset

from whyray.config import Audience, ResultKind
from whyray.results.answer import Answer, Result, is_for, maps_for, shown_maps, shown_typed
from whyray.results.answer_segmentations import AnswerSegmentations
from whyray.results.blending import blending
from whyray.results.charset import set_character_set
from whyray.results.consistency import refuse_inconsistent
from whyray.results.drawing import Drawing, Drawn
from whyray.results.encapsulated_pdf import encapsulated_pdf
from whyray.results.key_objects import key_objects
from whyray.results.kinds import Drawn as Pictured
from whyray.results.kinds import Finished, make_kinds, refuse_unmakeable
from whyray.results.page import legible_wording, on_paper, sheets
from whyray.results.parametric_map import parametric_map
from whyray.results.presentation_state import outlined_together, presentation_state
from whyray.results.report import EarlierResult, Evidence, report
from whyray.results.report_groups import Explained
from whyray.results.report_typed import ShownTyped
from whyray.results.secondary_capture import picture_of, secondary_capture
from whyray.results.summary_capture import summary_capture
from whyray.results.templates import Templates
from whyray.results.uids import UidSource, map_key, map_keys, typed_key, uid_source
from whyray.results.wording import Wording

CINE_FRAME_TIME = 250.0
"""ms that a frame of a cine is shown."""


def build_results(
    answer: Answer,
    kinds: Sequence[ResultKind],
    templates: Templates,
    *,
    language: str = "en",
    uid_root: str | None = None,
    previous: Sequence[EarlierResult] = (),
    audience: Audience = "radiologist",
    run: str | None = None,
    drawn: Pictured = lambda _: None,
    finished: Finished = lambda _: None,
) -> list[Result]:
    """All results of an answer, of the wanted kinds, in the order SC, cines, SEG, PM, SR, GSPS, blends, KO, PDF.

    The same answer, templates and options give the same bytes under the same UIDs, any other ones other UIDs.
    Explanations whose card says `withheld` appear in no picture, region or map: a page and the report say that and why.

    Parameters
    ----------
    answer
        Findings, with maps in the geometry of `answer.image`.
    kinds
        Which kinds to make. A report refers to those results that are made beside it.
    language
        Name of a wording template. Pages fall back to English where no installed font holds its characters.
    uid_root
        An organisation's UID root; None for 2.25 UIDs.
    previous
        What the catalog knows of the results named in `answer.supersedes`, for the report's predecessors.
    audience
        Who the pages are for.
    run
        Where the answer is one of several of a study, what names them all: their pages share a series, and the first
        page is about all of them (`build_run_results`).
    drawn
        Told of each page's picture as soon as it is drawn, and of those of other kinds once the kind is made; of some
        twice.
    finished
        Told of each result as soon as nothing of it changes any more; of some twice. Not with `run`, where those who
        put several together number pages anew.

    Raises
    ------
    ExplanationError
        If a map does not have the image's shape or holds values that are not finite.
    ImageError
        If an instance of the source lacks a UID that results have to name.
    ConfigError
        If there is no wording in `language`, `uid_root` is no UID root, or blends are wanted without the maps that
        they refer to.
    """
    refuse_inconsistent(answer)
    refuse_unmakeable(kinds)
    wording, page_wording = templates.wording(language), legible_wording(templates, language)
    options = [sorted(kinds), list(previous), audience, *([] if run is None else [run])]
    version = f"{language}/{page_wording.language.value}"
    uids = uid_source(answer, templates.version, version, uid_root, options, run)
    builder = _Builder(answer, templates, uids, wording, page_wording, audience, drawn, finished, is_alone=run is None)
    findings = ", ".join(finding.target.name for finding in answer.findings if finding.maps or finding.typed)
    with builder.ahead(kinds):
        return make_kinds(builder, kinds, previous, answer.image.header, findings or "the answer", drawn, finished)


class _Builder:
    """Makes the results of one answer and remembers which object shows what, for the report."""

    def __init__(
        self,
        answer: Answer,
        templates: Templates,
        uids: UidSource,
        wording: Wording,
        page_wording: Wording,
        audience: Audience,
        drawn: Pictured,
        finished: Finished,
        *,
        is_alone: bool,
    ) -> None:
        self.answer = answer
        self.templates = templates
        self.uids = uids
        self.wording = wording
        self.page_wording = page_wording
        self.shown = maps_for(answer, audience)
        self.typed = shown_typed(answer)
        self._drawing = Drawing(answer, templates, page_wording, audience)
        self._pages: dict[tuple[str, str], list[Dataset]] = {}
        self._heatmaps: dict[tuple[str, str], Dataset] = {}
        self._notices: dict[str, Dataset] = {}
        self._typed_pages: dict[tuple[str, str], list[Dataset]] = {}
        self._segmentations = AnswerSegmentations(answer, templates, uids, self.shown, self.typed)
        self._audience = audience
        self._pictured, self._finished = drawn, finished
        self._is_alone = is_alone
        self._captures = 0

    def ahead(self, kinds: Sequence[ResultKind]) -> AbstractContextManager[None]:
        """Inside, a second thread helps with what these kinds of results show."""
        if "sc" not in kinds:
            return nullcontext()
        return self._drawing.ahead(self.templates.layout, outlined="sr" in kinds)

    def captures(self) -> list[Result]:
        """Pages: what was found, unless a run says that; of each shown map, of segments without a map, and notices of
        what is not shown."""
        made = [self._summary()] if self._is_alone else []
        self._tell_of(made)
        for drawn in self._drawing.drawn(self.templates.layout):
            results = self._captured(drawn)
            name, datasets = drawn.finding.target.name, [result.dataset for result in results]
            if drawn.about == "map":
                self._pages[name, drawn.key] = datasets
            elif drawn.about == "typed":
                self._typed_pages.setdefault((name, drawn.key), []).extend(datasets)
            elif drawn.about == "notice":
                self._notices[name] = datasets[0]
            made += results
            self._tell_of(results)
        return made

    def _tell_of(self, pages: Sequence[Result]) -> None:
        for page in pages:
            if page.picture is not None:
                self._pictured(page.picture)
            set_character_set(page.dataset, self.answer.image.header)
            self._finished(page)

    def cines(self) -> list[Result]:
        """The steps of each counterfactual that has some."""
        made: list[Result] = []
        for drawn in self._drawing.cines(self.templates.layout):
            name = drawn.finding.target.name
            dataset = secondary_capture(
                self.answer,
                self.templates,
                self.uids,
                drawn.pages,
                kind="cine",
                key=[name, drawn.key],
                instance_number=len(made) + 1,
                description=drawn.title,
                multi_frame=len(drawn.pages) > 1,
                frame_time=CINE_FRAME_TIME,
            )
            self._typed_pages.setdefault((name, drawn.key), []).append(dataset)
            made.append(
                Result(
                    "cine",
                    dataset,
                    name,
                    drawn.method,
                    drawn.description,
                    picture_of(dataset),
                    drawn.grade,
                    drawn.about,
                )
            )
        return made

    def _summary(self) -> Result:
        self._captures += 1
        page = self._drawing.summary(self.templates.layout)
        return summary_capture(self.answer, self.templates, self.uids, page)

    def segmentations(self) -> list[Result]:
        """Salient regions, structures, and the segments of a segmentation package."""
        return self._segmentations.all()

    def maps(self) -> list[Result]:
        """One Parametric Map for each shown heatmap."""
        made = []
        for number, (finding, heatmap) in enumerate(self.shown, start=1):
            dataset = parametric_map(self.answer, self.templates, self.uids, finding, heatmap, instance_number=number)
            self._heatmaps[finding.target.name, map_key(heatmap)] = dataset
            description = f"heatmap of {finding.name} by {heatmap.title}"
            made.append(
                Result("pm", dataset, finding.target.name, heatmap.method, description, grade=heatmap.card.grade)
            )
        return made

    def report(self, previous: Sequence[EarlierResult]) -> Result:
        """The report, which refers to all results made before it."""
        explained: dict[str, list[Explained]] = {}
        for finding, heatmap in shown_maps(self.answer):
            place = (finding.target.name, map_key(heatmap))
            region, captures = self._segmentations.regions.get(place), tuple(self._pages.get(place, ()))
            drawn = is_for(heatmap, self._audience)
            explained.setdefault(finding.target.name, []).append(
                Explained(heatmap, self._heatmaps.get(place), region, captures, drawn)
            )
        typed: dict[str, list[ShownTyped]] = {}
        for finding, one in self.typed:
            pages = self._typed_pages.get((finding.target.name, typed_key(one)), ())
            structures = self._segmentations.structures
            used = {
                structure.name: structures[structure.name]
                for structure in one.structures
                if structure.name in structures
            }
            shown = ShownTyped(
                one, self._drawing.portrayal(finding, one, self.wording, self.templates.layout), tuple(pages), used
            )
            typed.setdefault(finding.target.name, []).append(shown)
        evidence = Evidence(explained, self._segmentations.masks, self._notices, typed)
        made_of: list[list[Any]] = [
            [finding.target.name, map_keys(finding.maps), sorted(finding.refused)] for finding in self.answer.findings
        ]
        made_of += [[finding.target.name, typed_key(one)] for finding in self.answer.findings for one in finding.typed]
        made = self._segmentations
        referenced = [
            place for datasets in (self._pages, made.regions, self._heatmaps, made.masks) for place in datasets
        ]
        dataset = report(
            self.answer,
            self.templates,
            self.uids,
            evidence,
            self.wording,
            previous,
            key=str(made_of) + str(referenced),
        )
        return Result("sr", dataset, None, None, "report of all findings")

    def presentation_states(self) -> list[Result]:
        """Outlines on the originals, for each shown map that has a region and lies on monochrome images.

        A state a map; several where its slices go through different modality transforms.
        """
        made: list[Result] = []
        for finding, heatmap in self.shown:
            together = outlined_together(self.answer, heatmap)
            for indices in together:
                dataset = presentation_state(
                    self.answer,
                    self.templates,
                    self.uids,
                    finding,
                    heatmap,
                    self.wording,
                    instance_number=len(made) + 1,
                    part=str(indices) if len(together) > 1 else None,
                    among=indices,
                )
                slices = ", ".join(str(index + 1) for index in indices)
                description = f"outline of {finding.name} by {heatmap.title}" + (
                    f", slice {slices}" if len(together) > 1 else ""
                )
                made.append(
                    Result("gsps", dataset, finding.target.name, heatmap.method, description, grade=heatmap.card.grade)
                )
        return made

    def blends(self) -> list[Result]:
        """Each shown map in colour, over the original where that is in the patient's space."""
        made = []
        for number, (finding, attribution) in enumerate(self.shown, start=1):
            heatmap = self._heatmaps[finding.target.name, map_key(attribution)]
            dataset = blending(
                self.answer, self.templates, self.uids, finding, attribution, heatmap, instance_number=number
            )
            description = f"heatmap of {finding.name} by {attribution.title} in colour"
            made.append(
                Result(
                    "blend", dataset, finding.target.name, attribution.method, description, grade=attribution.card.grade
                )
            )
        return made

    def key_objects(self) -> list[Result]:
        """Key slices of each shown map, with its pages where they are made."""
        made = []
        for number, (finding, heatmap) in enumerate(self.shown, start=1):
            pages = self._pages.get((finding.target.name, map_key(heatmap)), [])
            dataset = key_objects(
                self.answer, self.templates, self.uids, finding, heatmap, self.wording, pages, instance_number=number
            )
            description = f"key slices of {finding.name} by {heatmap.title}"
            made.append(
                Result("ko", dataset, finding.target.name, heatmap.method, description, grade=heatmap.card.grade)
            )
        return made

    def document(self) -> Result:
        """The printable report: the same pages in the colours of paper."""
        layout = on_paper(self.templates.layout)
        drawn = list(self._drawing.drawn(layout))
        printed = (page for drawing in drawn for page in drawing.pages)
        pictures = sheets(self.answer, printed, layout, self.page_wording)
        made_of = [[finding.target.name, finding.present] for finding in self.answer.findings]
        key = str(made_of) + str([[drawing.finding.target.name, drawing.key] for drawing in drawn])
        dataset = encapsulated_pdf(self.answer, self.templates, self.uids, pictures, self.page_wording, key=key)
        return Result("pdf", dataset, None, None, "printable report of all findings")

    def _captured(self, drawn: Drawn) -> list[Result]:
        name, mode = drawn.finding.target.name, self.templates.layout.volume.pages
        multi_frame = len(drawn.pages) > 1 and mode == "multiframe"
        groups = [drawn.pages] if multi_frame else [[page] for page in drawn.pages]
        made = []
        for number, group in enumerate(groups, start=1):
            self._captures += 1
            dataset = secondary_capture(
                self.answer,
                self.templates,
                self.uids,
                group,
                key=[name, drawn.key, mode, str(number)],
                instance_number=self._captures,
                description=drawn.title,
                multi_frame=multi_frame,
            )
            picture, about = picture_of(dataset), drawn.about
            made.append(Result("sc", dataset, name, drawn.method, drawn.description, picture, drawn.grade, about))
        return made
