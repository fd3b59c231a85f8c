"""How a version is trained."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from assay.config.names import FileName, ModelName
from assay.config.reinforcement import LIMITS, Reinforcement
from assay.config.strict import Strict, one_problem
from assay.extensions import NAME

Auto = Literal["auto"]
Share = Annotated[float, Field(ge=0, lt=1)]
Schedule = Literal["cosine", "linear", "constant"]
METHODS = ("sft", "text", "dpo", "ipo", "orpo", "kto", "reinforcement")
"""Assay's own training methods; which there are beside them is not known before they are loaded."""
MOST_RATE, MOST_EPOCHS = 10.0, 10_000
"""Beyond these no training learns anything, or none ends."""
SEEDS = 3
"""Trainings that tell what comes of chance, where there is time for them."""
_LATER = (
    *("target_modules", "schedule", "optimizer", "betas", "epsilon", "momentum"),
    *("reinforcement", "quantization", "embeddings", "embedding_rate"),
)
"""Settings that earlier versions of Assay did not have: at their default, a training is the same
as before there were any, and is known by the same name."""


class TrainingSettings(Strict):
    """How one version is trained; `auto` is decided by model and data size (docs/training.md)."""

    method: str = Field(
        "sft",
        description="Training method: sft learns the answers; text learns the documents of "
        "`knowledge`; dpo, ipo, orpo and kto learn from preferences; reinforcement learns from "
        "graders; a package may add others.",
        json_schema_extra={"anyOf": [{"enum": [*METHODS]}, {"pattern": f"^{NAME.pattern}$"}]},
    )
    adapter: Literal["lora", "rslora", "dora", "full"] = Field(
        "lora", description="Kind of adapter; full: train all weights without one."
    )
    quantization: Literal["none", "nf4"] = Field(
        "none",
        description="Frozen base weights during training; nf4: in 4 bits (QLoRA), for lora and "
        "rslora. Less memory, slower.",
    )
    beta: float = Field(
        0.1, gt=0, description="Strength of the preferences, in methods that learn from them."
    )
    reinforcement: Reinforcement = Field(
        default_factory=Reinforcement,
        description="How a version learns from graders (docs/reinforcement.md).",
    )
    teacher: ModelName | None = Field(
        None, description="A larger model whose answers are learned (distillation)."
    )
    distill: Literal["auto", "answers", "logprobs"] = Field(
        "auto",
        description="What to learn from a teacher; auto: log-probabilities if the tokens match.",
    )
    rehearsal: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Share of general rows among the training rows, in methods that learn from "
        "answers.",
    )
    tracking: list[Literal["tensorboard", "mlflow", "mlflow-server", "wandb"]] = Field(
        default_factory=list,
        description="Additional trackers that get the learning curve: two local files, or a server "
        "that the environment names.",
    )
    activation_checkpointing: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Recompute activations to save memory; auto: only if memory requires it.",
    )
    tokens_per_pass: int = Field(
        4096,
        ge=64,
        description="Maximum tokens per pass, shared ones counted once; affects memory and speed.",
    )
    rank: Annotated[int, Field(ge=1, le=512)] | Auto = Field(
        "auto", description="Rank of the adapter."
    )
    target_modules: Annotated[list[str], Field(min_length=1)] | Literal["all-linear"] = Field(
        "all-linear",
        description="Linear maps that get an adapter, by the end of their names: "
        "[q_proj, v_proj]; never the head.",
    )
    embeddings: Literal["frozen", "train"] = Field(
        "frozen",
        description="Input embeddings and head; train: as whole layers beside the adapter, for "
        "words and scripts that the base does not know. More memory.",
    )
    embedding_rate: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Learning rate of embeddings and head, as a share of `learning_rate`.",
    )
    alpha: int = Field(32, ge=1, description="Scale of the adapter (LoRA's alpha).")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout rate of the adapter.")
    learning_rate: Annotated[float, Field(gt=0, le=MOST_RATE)] | Auto = Field(
        "auto", description="Largest learning rate, after the warmup."
    )
    epochs: Annotated[int, Field(ge=1, le=MOST_EPOCHS)] | Auto = Field(
        "auto", description="Maximum number of epochs; early stopping may end sooner."
    )
    rows_per_step: Annotated[int, Field(ge=1)] | Auto = Field(
        "auto", description="Rows per step of the optimiser."
    )
    warmup: float = Field(
        0.05, ge=0, lt=1, description="Share of the steps with a rising learning rate."
    )
    schedule: Schedule = Field(
        "cosine",
        description="Learning rate after the warmup: down to 0 along a cosine or a line, or "
        "constant.",
    )
    optimizer: Literal["adamw", "adafactor", "sgd"] = Field(
        "adamw", description="Optimiser; all but adamw need a learning rate that is stated."
    )
    betas: tuple[Share, Share] = Field(
        (0.9, 0.999), description="Decay of the two moments of adamw, for each step."
    )
    epsilon: float = Field(1e-8, gt=0, description="Added to the denominator of adamw's update.")
    momentum: Share = Field(0.9, description="Momentum of sgd.")
    weight_decay: float = Field(0.0, ge=0, description="Weight decay of the optimiser.")
    clip: float = Field(1.0, gt=0, description="Maximum norm of the gradient.")
    patience: int = Field(
        2, ge=1, description="Epochs without a better validation loss before training stops."
    )
    graded_rows: int = Field(
        0,
        ge=0,
        description="Validation rows that are answered and graded after each epoch; the score is "
        "shown beside the loss.",
    )
    max_tokens: int = Field(
        1024,
        ge=16,
        description="Maximum tokens of an example; longer ones are rejected, not truncated.",
    )
    system_prompt: str | None = Field(
        None,
        description="System prompt in training; null: the project's. A short one is faster.",
    )
    seed: int = Field(
        0, ge=0, lt=2**63, description="Seed of the adapter, the order of rows and dropout."
    )

    def identity(self, *, tracking: bool = False) -> dict[str, Any]:
        """What decides the weights, JSON-ready: of this every name and hash of a training is made.

        Args:
            tracking: with the names of the trackers, which decide nothing either; whatever is kept
                under a hash of them is found by no other.
        """
        decides_nothing = {"graded_rows"} if tracking else {"graded_rows", "tracking"}
        fields = type(self).model_fields
        as_before = {
            name
            for name in _LATER
            if getattr(self, name) == fields[name].get_default(call_default_factory=True)
        }
        left_out: dict[str, Any] = dict.fromkeys(decides_nothing | as_before, True)
        own = self.reinforcement.model_dump(exclude=LIMITS)
        is_default = own == Reinforcement().model_dump(exclude=LIMITS)
        left_out["reinforcement"] = is_default or self.method != "reinforcement" or LIMITS
        return self.model_dump(mode="json", exclude=left_out)

    @field_validator("method")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if not NAME.fullmatch(value):
            raise ValueError("must be the name of a method: lowercase letters, digits and hyphens")
        return value

    @model_validator(mode="after")
    def _has_targets_of_an_adapter(self) -> Self:
        if self.adapter == "full" and self.target_modules != "all-linear":
            raise ValueError("adapter: full trains every weight; leave target_modules out")
        return self

    @model_validator(mode="after")
    def _has_embeddings_to_train(self) -> Self:
        if self.embeddings == "train" and self.adapter == "full":
            raise ValueError("adapter: full trains embeddings and head too; leave embeddings out")
        default = type(self).model_fields["embedding_rate"].default
        if self.embeddings == "frozen" and self.embedding_rate != default:
            raise ValueError("embedding_rate has no effect without embeddings: train")
        return self

    @model_validator(mode="after")
    def _has_an_adapter_for_its_base(self) -> Self:
        if self.quantization != "none" and self.adapter not in ("lora", "rslora"):
            raise ValueError(f"quantization: {self.quantization} needs adapter: lora or rslora")
        return self

    @model_validator(mode="after")
    def _has_settings_of_its_optimizer(self) -> Self:
        used = {"adamw": ("betas", "epsilon"), "sgd": ("momentum",)}.get(self.optimizer, ())
        for name in ("betas", "epsilon", "momentum"):
            if name not in used and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} has no effect with optimizer: {self.optimizer}")
        if self.optimizer != "adamw" and self.learning_rate == "auto":
            raise ValueError(
                f"learning_rate: auto is a rule for adamw; state a number for {self.optimizer}"
            )
        return self

    _maps = one_problem(
        "target_modules", said="must be all-linear, or a list of names of linear maps"
    )
    _numbers = one_problem("rank", "learning_rate", "epochs", "rows_per_step")


class FineTuneSection(TrainingSettings):
    """How versions are trained, and how many of them a comparison chooses from."""

    recorded: FileName | None = Field(
        None,
        description="Recorded answers of a teacher that is gone (`assay rescue record`); they are "
        "learned in place of the rows' own.",
    )
    seeds: int | None = Field(
        None,
        ge=1,
        le=20,
        description="Number of trainings with seed, seed + 1, …; the best on validation is used. "
        "null: three if the further ones fit in `seeds_minutes`, otherwise one.",
    )
    seeds_minutes: float = Field(
        10.0,
        ge=0,
        description="Minutes for trainings with further seeds, estimated from the first.",
    )

    @model_validator(mode="after")
    def _has_one_teacher(self) -> Self:
        if self.teacher is not None and self.recorded is not None:
            raise ValueError("teacher and recorded cannot be used together; leave one out")
        return self

    def seed_count(self, seconds: float) -> int:
        """With how many seeds a version is trained, where one training takes so many seconds."""
        if self.seeds is not None:
            return self.seeds
        return SEEDS if (SEEDS - 1) * seconds <= 60 * self.seeds_minutes else 1


class FineTune(TrainingSettings):
    """What the trainer takes: every number fixed (`assay.train.auto` fixes those left open)."""

    rank: int = Field(16, ge=1, le=512)
    learning_rate: float = Field(1e-3, gt=0, le=MOST_RATE)
    epochs: int = Field(4, ge=1, le=MOST_EPOCHS)
    rows_per_step: int = Field(8, ge=1)
