"""`fine-tune`: a LoRA adapter, the epoch with the best validation loss kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from assay import __version__
from assay.candidates.building import Candidate, Context, LossPoint, as_tried
from assay.candidates.distill import taught
from assay.chat.template import Template
from assay.config import FineTune
from assay.example import Example, canonical_json
from assay.models.device import best_device
from assay.models.lineage import keep_rows, rows_sha256
from assay.models.load import LoadedModel, load
from assay.models.versions import VersionRecord, save_version
from assay.train import auto
from assay.train.checkpoints import Point
from assay.train.loop import Observe
from assay.train.methods import train_by_method, units_of
from assay.train.sequences import Unit
from assay.train.sft import TrainResult
from assay.train.tracking import tracking


def build(context: Context) -> Candidate:
    """Train on train, stop early by validation, keep the version, measure it on validation."""
    version, result = train_version(context)
    agent = context.chat_agent(model=f"version:{version}", system_prompt=training_prompt(context))
    chosen = context.choose_constraint(agent, context.measure(agent))
    return Candidate(
        name="fine-tune",
        kind="fine-tune",
        agent=chosen.agent,
        tried=as_tried(chosen.tried),
        scores=tuple(chosen.measurement.primary_scores),
        setup_seconds=result.seconds,
        fine_tuned=True,
        curated=True,
        retrained=True,
        curve=tuple(
            LossPoint(p.step, p.epoch, p.train_loss, p.validation_loss) for p in result.points
        ),
        best_step=result.best_step,
    )


def training_prompt(context: Context) -> str:
    """The system prompt the version is trained and served with."""
    own = context.config.fine_tune.system_prompt
    return context.config.system_prompt if own is None else own


def train_version(context: Context) -> tuple[str, TrainResult]:
    """Train an adapter and keep it as a version; an interrupted training goes on.

    Returns:
        the version's id and the trainer's account.
    """
    config, prepared = context.config, Prepared.of(context)
    result = prepared.train(context, prepared.settings)
    saw = {"train": prepared.examples, "validation": context.validation}
    if prepared.examples is not context.train:
        saw["asked"] = context.train
    record = VersionRecord(
        base=config.model,
        base_sha256=prepared.loaded.weights_sha256,
        data={part: keep_rows(context.store, examples) for part, examples in saw.items()},
        split=context.split,
        settings=prepared.settings.model_dump(mode="json", exclude={"tracking"}),
        template=prepared.template.to_dict(),
        template_sha256=prepared.template.sha256,
        metrics={"validation_loss": result.best_validation_loss},
        seed=prepared.settings.seed,
        code=__version__,
    )
    return save_version(context.store.folder, result.adapter, record), result


@dataclass(frozen=True, slots=True)
class Prepared:
    """What every training of a project on the same rows has in common.

    Attributes:
        examples: what is trained on, with the teacher's answers where there is a teacher.
        units, checks: of training and validation.
        settings: the project's, with what it leaves open decided.
    """

    loaded: LoadedModel
    template: Template
    prompt: str
    examples: tuple[Example, ...]
    units: list[Unit]
    checks: list[Unit]
    settings: FineTune

    @classmethod
    def of(cls, context: Context) -> Prepared:
        """Ask the teacher, if there is one, load the model and render the rows."""
        settings, examples = context.config.fine_tune, taught(context)
        loaded = load(context.config.model, dtype="float32")
        loaded.model.to(best_device())
        template, prompt = Template.of(loaded.tokenizer), training_prompt(context)
        return cls(
            loaded,
            template,
            prompt,
            examples,
            units_of(settings.method, examples, template, prompt),
            units_of(settings.method, context.validation, template, prompt),
            auto.chosen(settings, parameters=loaded.model.num_parameters(), rows=len(examples)),
        )

    def name(self, context: Context, settings: FineTune) -> str:
        """Of a training with these settings, and of its folder."""
        key = _key(
            self.loaded, self.template, self.prompt, self.examples, context.validation, settings
        )
        return f"fine-tune-{key[:16]}"

    def train(
        self,
        context: Context,
        settings: FineTune,
        observe: Observe = lambda point, rates: None,
        *,
        within: Path | None = None,
    ) -> TrainResult:
        """Train an adapter; the same settings go on from where they were, or are done.

        Args:
            observe: told every point of the curve.
            within: parent of its folder; None: where all trainings of the project are.
        """
        name = self.name(context, settings)
        with tracking(settings, context.store.folder / "tracking", name) as write:

            def told(point: Point, rates: Mapping[str, float]) -> None:
                write(point, rates)
                observe(point, rates)

            return train_by_method(
                self.loaded,
                self.units,
                self.checks,
                settings,
                (within or context.folder) / name,
                progress=context.progress,
                observe=told,
            )


def _key(
    loaded: LoadedModel,
    template: Template,
    prompt: str,
    train: tuple[Example, ...],
    validation: tuple[Example, ...],
    settings: FineTune,
) -> str:
    parts = [
        loaded.weights_sha256,
        template.sha256,
        prompt,
        rows_sha256(train),
        rows_sha256(validation),
        settings.model_dump(mode="json", exclude={"tracking"}),
    ]
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()
