"""A project: its configuration, its state, and the long work that is done on it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.accounts.keys import local_user
from assay.agent.versions import find_version
from assay.candidates import registry
from assay.candidates.building import Context
from assay.candidates.spec import Sizes
from assay.compare import comparison as comparing
from assay.compare import holdout, planning
from assay.compare.curve import LearningCurve, curve
from assay.compare.report import write_report
from assay.compare.shared_results import share
from assay.config import CONFIG_FILE, STATE_FOLDER, Config, Provider, config_text, read_config
from assay.data import shared_split
from assay.data.dataset import prepare, renew
from assay.data.gather import has_files
from assay.data.split import (
    SplitManifest,
    has_split,
    load_train,
    load_validation,
    read_manifest,
    verify_split,
)
from assay.errors import DataError, HoldoutError, UsageError
from assay.evaluate.graders import check_graders
from assay.evaluate.measure import Bench
from assay.example import Example
from assay.generate.batch import Answer
from assay.knowledge.sources import SourceFile
from assay.place.opening import workers_of
from assay.progress import DEFAULT, SILENT, Progress
from assay.project import answer_length
from assay.project.comparison import Comparison
from assay.project.estimate import Estimate, Pace, curve_seconds, estimate
from assay.project.kept_documents import keep_documents
from assay.project.last_good import keep
from assay.project.questions import check_measurable, drafted_note
from assay.project.queued_comparisons import taken_holdouts
from assay.project.sizes import project_sizes
from assay.project.state import names_bucket, open_state
from assay.project.unlabelled import read_unlabelled
from assay.project.versions import describe_removed, find_uses_of
from assay.store.store import Store, owner_of
from assay.train.methods.registry import warn_of_missing
from assay.train.trials import TRIALS

if TYPE_CHECKING:
    from assay.agent.providers import Providers
    from assay.chat.template import Template
    from assay.project.train import SearchResult, TrainingResult
    from assay.release.classifier_export import ClassifierExport
    from assay.release.export import ModelExport
    from assay.train.job import OnStep, StopWhen
    from assay.train.methods.spec import MethodSpec

REPORT = "report.html"


class Project:
    """A folder with an `assay.yaml`; nothing heavy is loaded before it is needed.

    Attributes:
        text: of assay.yaml as it was read.
        pin, document_files: of what a job compares, see `Bench`.

    Args:
        text: taken for assay.yaml; None: the file's own.
        state: opens it; None: as the settings say.

    Raises:
        ConfigError: assay.yaml is missing or cannot be used.
    """

    pin: str | None = None
    document_files: tuple[SourceFile, ...] | None = None

    def __init__(
        self, root: Path, text: str | None = None, state: Callable[[], Store] | None = None
    ) -> None:
        self.root, self._state = root, state
        path = root / CONFIG_FILE
        self.text = config_text(path) if text is None else text
        self.config: Config = read_config(self.text, str(path))
        registry.check_candidates(self.config)
        check_graders(self.config, root)
        answer_length.check_config(self.config)
        warn_of_missing(self.config)

    @cached_property
    def store(self) -> Store:
        """The project's state, see `assay.project.state`."""
        store = self._state() if self._state else open_state(self.root, config=self.config)
        keep(store, self.text)
        return store

    @property
    def owner(self) -> str:
        """Name that its rows are kept under, see `assay.store.store.owner_of`."""
        return owner_of(self.store, self.root)

    @property
    def split_folder(self) -> Path:
        """Where train, validation and the locked holdout are, as they were divided last."""
        if names_bucket(self.config):
            return shared_split.present_split(self.store)
        return self.root / STATE_FOLDER / shared_split.FOLDER

    @cached_property
    def template(self) -> tuple[Template, int]:
        """The model's chat template, and the tokens that its context holds."""
        from assay.chat.template import Template

        return Template.load(self.config.model)

    def split(self, progress: Progress = SILENT) -> SplitManifest:
        """Divide the examples and lock the holdout; what is there and still fits is kept.

        Raises:
            DataError: the examples cannot be read or divided.
            HoldoutError: the split was changed, or the holdout was opened and would change.
            StateError: the project began with documents, and too few questions are approved.
        """
        check_measurable(self.store, self.owner, self.root, self.config.data.file)
        template, context = self.template
        before: list[Example] = []

        def remember() -> None:
            before.extend(load_train(folder) + load_validation(folder))
            shared_split.replacing_split(self.store)

        with shared_split.dividing(self.store, progress) as folder:
            taken = holdout.remove_left_holdouts(folder) | taken_holdouts(self.store, self.owner)
            taken |= holdout.kept_elsewhere(self.store, folder)
            is_elsewhere = self.store.bucket is not None and not has_files(self.config, self.root)
            if is_elsewhere and has_split(folder):
                divided = verify_split(folder)
                if divided.file == self.config.data.file:  # else it is a new name, or mistyped
                    progress.say("The examples are not on this server; their split is used.")
                    return divided
            manifest = prepare(
                self.config,
                self.root,
                folder,
                template=template,
                context_length=context,
                opened=holdout.opened_holdouts(self.store),
                taken=taken,
                replacing=remember,
                progress=progress,
            )
        if before:
            after = load_train(self.split_folder) + load_validation(self.split_folder)
            if line := describe_removed(self.store, before, after):
                progress.say(line)
        return manifest

    def openings(self) -> list[holdout.LoggedOpening]:
        """Every opening of the present holdout, oldest first."""
        if not has_split(self.split_folder):
            return []
        return holdout.openings(self.store, read_manifest(self.split_folder).holdout_sha256)

    def show(self, part: str, count: int, progress: Progress = SILENT) -> list[Example]:
        """The first examples of train or validation.

        Raises:
            HoldoutError: the holdout was asked for.
            UsageError: there is no such part.
        """
        if part == "holdout":
            raise HoldoutError(
                "the holdout is locked: rows that were seen can no longer be used to measure.",
                fix="Use validation, which is drawn in the same way.",
            )
        if part not in ("train", "validation"):
            raise UsageError(f"there is no split {part!r}.", fix="Use train or validation.")
        self.split(progress)
        load = load_train if part == "train" else load_validation
        return load(self.split_folder)[:count]

    def renew_holdout(self, file: Path, progress: Progress = SILENT) -> SplitManifest:
        """Lock a new holdout of new examples; the old one may be trained on from now on."""
        template, context = self.template
        with shared_split.dividing(self.store, progress) as folder:
            holdout.remove_left_holdouts(folder)
            shared_split.replacing_split(self.store)
            return renew(
                self.config,
                self.root,
                folder,
                file,
                template=template,
                context_length=context,
                progress=progress,
            )

    def sizes(self, progress: Progress = SILENT) -> Sizes:
        """Rows of each part, tokens of a sample of train, and how large the models are."""
        return project_sizes(self, progress)

    def estimate(self, progress: Progress = SILENT, pace: Pace | None = None) -> Estimate:
        """What `compare` will take in time (at a measured pace), memory and money, and can show."""
        names = registry.taking_part(self.config)
        sizes = self.sizes(progress)
        manifest = read_manifest(self.split_folder)
        effect = planning.detectable_effect(
            self.config, manifest.holdout, manifest.groups, len(self.openings()) + 1
        )
        return estimate(self.config, sizes, names, effect, pace, self.providers)

    def compare(
        self,
        *,
        predictions: Mapping[str, Path] | None = None,
        agents: Sequence[str] = (),
        reason: str = "a comparison",
        who: str | None = None,
        trust_code: bool = False,
        redact: bool = False,
        consent: Sequence[str] = (),
        progress: Progress = DEFAULT,
    ) -> Comparison:
        """Build every candidate, open the holdout once, draw the verdict, write the report.

        What is edited meanwhile, examples, settings or documents, counts from the next call.

        Args:
            predictions: name -> JSONL file `{id, output}` of an outside model's answers.
            agents: `NAME@VERSION` of saved agents that take part too, such as the one served.
            reason: why the holdout is opened; kept in its log, with `who` (None: who runs this).
            trust_code: run the project's own Python graders.
            redact: leave inputs, references and answers out of the report.
            consent: providers that this project's rows may be sent to, from now on.

        Raises:
            ConsentError: rows would go to a provider that nobody has agreed to.
        """
        registry.check_needs(self.config)
        for name in consent:
            self.providers.agree(name)
        saved = [find_version(self.store, label) for label in agents]
        manifest = self.split(progress)
        present = self.root / STATE_FOLDER / shared_split.FOLDER  # a job may have an earlier one
        with (
            holdout.keep_holdout(self.store, present, manifest, self.split_folder),
            keep_documents(self, saved) as pin,
            workers_of(self.config.place, progress) as workers,
        ):
            unlabelled = read_unlabelled(self, progress)
            found = comparing.ComparisonData.read(self.split_folder, manifest, unlabelled)
            parts = replace(found, split=present)
            result, folder = comparing.compare(
                parts,
                replace(self._bench(progress, trust_code, pin), workers=workers),
                holdout.OpeningRequest(reason, who or local_user(), self.config.mcp.openings),
                predictions=predictions or {},
                agents=saved,
                notes=drafted_note(self),
            )
        report = write_report(folder, redact=redact)
        shutil.copyfile(report, self.root / REPORT)  # is there, also where the bucket is away
        share(self.store, folder)
        return Comparison(result, folder, self.root / REPORT)

    def train(
        self,
        progress: Progress = DEFAULT,
        *,
        method: MethodSpec | None = None,
        on_step: OnStep | None = None,
        stop_when: StopWhen | None = None,
        trust_code: bool = False,
    ) -> TrainingResult:
        """Train a version as `compare` does, which then finds it done.

        Args:
            method: in the place of `fine_tune.method`, see `assay.train.methods.spec`.
            on_step, stop_when: called after each step and evaluation, see `assay.train.job`.
            trust_code: as in `compare`, where the grader is asked while it trains.

        Raises:
            UsageError: a method of that name is installed, or its code cannot be read.
            KeyboardInterrupt: stopped by the user; the same call goes on.
        """
        from assay.project import train

        context = train.with_method(self.context(progress, trust_code=trust_code), method)
        return train.train(context, on_step=on_step, stop_when=stop_when)

    def sweep(
        self, trials: int | None = None, *, write: bool = False, progress: Progress = DEFAULT
    ) -> SearchResult:
        """Search for the settings that train best, by the loss on validation.

        Args:
            trials: settings to try, those of earlier calls counted; None: `TRIALS`.
            write: put the best into assay.yaml.

        Raises:
            KeyboardInterrupt: stopped by the user; the same call goes on.
        """
        from assay.project import train

        trials = trials or TRIALS
        with workers_of(self.config.place, progress) as workers:
            context = self.context(progress)
            return train.sweep(context, self.root, workers, trials=trials, write=write)

    def score(self, answer: str, example: Example) -> float:
        """What an answer is worth by the primary grader, 0 to 1.

        Raises:
            DataError: the grader can say nothing about the example.
        """
        graded = self._bench(SILENT, trust_code=False).grade([Answer(answer)], [example])
        if not graded.primary_scores:
            raise DataError(f"{self.config.primary} cannot grade this example.", fix="Skip it.")
        return graded.primary_scores[0]

    def find_uses(self, example: str) -> dict[str, Any]:
        """The versions that saw an example, see `assay.project.versions.find_uses_of`."""
        folder = self.split_folder
        seen = load_train(folder) + load_validation(folder) if has_split(folder) else []
        return find_uses_of(self.store, seen, example)

    def export(
        self, name: str, to: str, out: Path | None = None, progress: Progress = SILENT
    ) -> ModelExport | ClassifierExport:
        """Write a version, or a classifier, for another program, if it answers there the same.

        Args:
            name: a version's id or its first digits; for onnx an agent's or a release's.
            to: one of `assay.release.forms.FORMS`.
            out: the folder; None: one in the current folder, named after both.

        Raises:
            UsageError: there is no such form, or the folder holds something.
            ModelError: it has no such form, or the parity gate refuses it.
        """
        from assay.project.export import export

        return export(self, name, to, out, progress)

    def context(self, progress: Progress = SILENT, *, trust_code: bool = False) -> Context:
        """What candidates are built from: train, validation, and the bench they are measured on."""
        manifest = self.split(progress)
        parts = comparing.ComparisonData.read(self.split_folder, manifest)
        bench = self._bench(progress, trust_code=trust_code)
        return Context(parts.train, parts.validation, bench, parts.holdout)

    def curve_seconds(self, candidate: str, progress: Progress = SILENT) -> float:
        """About how long `curve` will take."""
        return curve_seconds(candidate, self.config, self.sizes(progress))

    def curve(self, candidate: str = "fine-tune", progress: Progress = DEFAULT) -> LearningCurve:
        """The score on validation by the number of training examples, and what more would bring."""
        context = self.context(progress)
        with workers_of(self.config.place, progress) as workers:
            bench = replace(context.bench, workers=workers)
            return curve(candidate, context.train, context.validation, bench)

    @cached_property
    def providers(self) -> Providers:
        """Endpoints of models elsewhere, their keys, and consents."""
        from assay.agent.providers import Providers

        return Providers(self.provider_settings, self.store, self.owner)

    @cached_property
    def provider_settings(self) -> Mapping[str, Provider]:
        """Providers of assay.yaml, their files named by where they are."""
        return {name: one.located(self.root) for name, one in self.config.providers.items()}

    def _bench(self, progress: Progress, trust_code: bool, pin: str | None = None) -> Bench:
        from assay.agent.engines import BatchEngines

        engines = BatchEngines.of(self.config, self.store, self.providers, self.owner, pin)
        bench = Bench(self.config, self.root, self.store, engines, progress, trust_code)
        return replace(bench, pin=pin, document_files=self.document_files)


def open(path: str | Path) -> Project:
    """The project in a folder."""
    return Project(Path(path))
