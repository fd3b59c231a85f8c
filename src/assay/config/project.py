"""assay.yaml as a whole: its schema, and how it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from assay.config import yaml_text
from assay.config.candidates import Classifier, FewShot, Generate, KnowledgeSection, PromptSearch
from assay.config.examples import Data, GraderSpec, Rollout, TaskKind, Unlabelled
from assay.config.names import SLUG, SLUG_RULE, FileName, ModelName
from assay.config.place import Place
from assay.config.programs import Programs
from assay.config.providers import MOST_PRICE_USD, Provider, RemoteModel, Vllm, is_remote
from assay.config.routes import RouteSection
from assay.config.sentences import sentence
from assay.config.state import State
from assay.config.strict import Strict
from assay.config.training import FineTuneSection
from assay.config.yaml_text import UNREADABLE, Problem, locate, unreadable
from assay.defaults import CONFIG_FILE, STARTER_MODEL
from assay.errors import ConfigError, Step

# As `MOST_PRICE_USD`, far from what anybody has.
_MOST_HOURS = 1_000_000
_MOST_REQUESTS = 1_000_000_000_000


class Costs(Strict):
    """Prices for the cost to own. Null means unknown, which is never counted as 0."""

    machine_hour_usd: float | None = Field(
        0.2,
        ge=0,
        le=MOST_PRICE_USD,
        description="Price per hour of a machine that serves the local model.",
    )
    machine_hours_per_month: float = Field(
        730.0,
        ge=0,
        le=744,  # a month of 31 days
        description="Hours per month for which that machine is kept on and paid, whether or not it "
        "answers. 730 is always, as an endpoint needs; 0 for a machine that you have anyway: then "
        "only the time of its answers counts.",
    )
    person_hour_usd: float | None = Field(
        60.0, ge=0, le=MOST_PRICE_USD, description="Price per hour of a person's work."
    )
    prompt_hours: float = Field(
        2.0, ge=0, le=_MOST_HOURS, description="Hours to write and test a prompt, once."
    )
    curation_hours: float = Field(
        8.0,
        ge=0,
        le=_MOST_HOURS,
        description="Hours to collect and check training examples, once.",
    )
    retrainings_per_year: float = Field(
        2.0,
        ge=0,
        le=8760,  # once an hour
        description="How often per year a version is trained again.",
    )
    hours_per_retraining: float = Field(
        2.0,
        ge=0,
        le=_MOST_HOURS,
        description="Hours for new examples, the check of the version and its release.",
    )


class Config(Strict):
    """assay.yaml."""

    version: Literal[1] = Field(1, description="Version of the format of this file.")
    name: str = Field(description="Name of the project: a-z, 0-9 and hyphens.")
    task: TaskKind = Field(
        description="What the outputs are: labels of a closed set, JSON records, free text, or "
        "calls of functions (tools)."
    )
    model: ModelName = Field(
        STARTER_MODEL,
        description="The model to specialise: a starter, a hub id, a folder or a GGUF file.",
    )
    data: Data = Field(description="Where the examples are and how to read them.")
    unlabelled: Unlabelled | None = Field(
        None, description="Unlabelled inputs that narrow the intervals of a comparison."
    )
    rollout: Rollout | None = Field(
        None, description="Score whole dialogues beside single calls; of a tools task only."
    )
    system_prompt: str = Field(
        "", description="System prompt that candidates use, or start from to find a better one."
    )
    labels: list[str] | None = Field(None, description="All possible outputs of a label task.")
    output_schema: dict[str, Any] | None = Field(
        None, description="JSON Schema of the outputs of a json task."
    )
    graders: list[GraderSpec] = Field(
        min_length=1, description="What scores the answers (docs/graders.md)."
    )
    primary: str = Field(description="The grader that decides the comparison.")
    good_enough: float | None = Field(
        None, ge=0, le=1, description="The lowest score at which a candidate is worth using."
    )
    monthly_requests: int = Field(
        10_000,
        ge=0,
        le=_MOST_REQUESTS,
        description="Expected requests per month, for the cost to own.",
    )
    margin: float = Field(
        0.02, gt=0, lt=1, description="The largest difference in score that does not matter."
    )
    margin_for_cheaper: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="How much worse a cheaper candidate may score; null: `margin`.",
    )
    candidates: list[str] = Field(
        min_length=1, description="Candidates to compare, such as few-shot and fine-tune."
    )
    baselines: bool = Field(
        True, description="Whether cheap baselines take part besides `candidates` where they apply."
    )
    route: RouteSection | None = Field(
        None, description="Arms of the candidates cascade, router and rules."
    )
    few_shot: FewShot = Field(FewShot(), description="How many examples `few-shot` shows.")
    classifier: Classifier = Field(
        Classifier(), description="The embedder of the candidate `classifier`."
    )
    fine_tune: FineTuneSection = Field(FineTuneSection(), description="How versions are trained.")
    knowledge: KnowledgeSection | None = Field(
        None, description="Documents to search; required by candidates with `rag`."
    )
    prompt_search: PromptSearch = Field(
        PromptSearch(), description="How a better system prompt is searched for."
    )
    generate: Generate = Field(Generate(), description="How answers are generated.")
    providers: dict[str, Provider] = Field(
        default_factory=dict, description="Providers of hosted models, under names of your choice."
    )
    vllm: Vllm | None = Field(None, description="A vLLM server that answers for this project.")
    fallback: dict[ModelName, list[ModelName]] = Field(
        default_factory=dict,
        description="For a model, those that answer while it fails, in order; only when serving.",
    )
    remote: RemoteModel | None = Field(
        None,
        description="The model of the candidates `remote` and `remote-few-shot`: "
        "remote:PROVIDER/MODEL.",
    )
    recorded: FileName | None = Field(
        None,
        description="Recorded answers (`assay rescue record`) that the candidate `distill` learns.",
    )
    costs: Costs = Field(Costs(), description="Prices and hours for the cost to own.")
    place: Place = Field(
        Place(), description="Where trainings and comparisons run: in one process, or in several."
    )
    mcp: Programs = Field(Programs(), description="Limits for programs that use `assay mcp`.")
    state: State = Field(State(), description="Where the state is kept; SQLite unless set.")

    @field_validator("name")
    @classmethod
    def _name_is_a_slug(cls, value: str) -> str:
        if not SLUG.fullmatch(value):
            raise ValueError(SLUG_RULE)
        return value

    @field_validator("providers")
    @classmethod
    def _names_are_slugs(cls, value: dict[str, Provider]) -> dict[str, Provider]:
        for name in value:
            if not SLUG.fullmatch(name):
                raise ValueError(f"{name!r}: {SLUG_RULE}")
        return value

    @field_validator("model")
    @classmethod
    def _is_on_this_machine(cls, value: str) -> str:
        if is_remote(value):
            raise ValueError(
                "the project's model must be one that is trained and served on this machine; use a "
                "provider's model as fine_tune.teacher, or as the candidate `remote`"
            )
        return value

    @field_validator("rollout")
    @classmethod
    def _has_calls(cls, value: Rollout | None, info: ValidationInfo) -> Rollout | None:
        if value is not None and info.data.get("task", "tools") != "tools":
            raise ValueError("whole dialogues are scored by their calls: this needs `task: tools`")
        return value

    @field_validator("margin_for_cheaper")
    @classmethod
    def _margins_are_in_order(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is not None and value < info.data.get("margin", value):
            raise ValueError(
                "it must not be smaller than the margin: make it larger or leave it out"
            )
        return value

    def primary_grader(self) -> GraderSpec:
        """The grader that `primary` names (ConfigError: none has that name)."""
        for grader in self.graders:
            if grader.label == self.primary:
                return grader
        names = ", ".join(g.label for g in self.graders)
        raise ConfigError(
            f"primary is {self.primary!r}, which is not a grader of this project.",
            where=f"{CONFIG_FILE}, primary",
            fix=f"Use one of: {names}.",
        )


def load_config(path: Path) -> Config:
    """Read and check assay.yaml.

    Raises:
        ConfigError: the file is missing, is not YAML, or does not fit the schema; the message
            names line and field.
    """
    return read_config(config_text(path), str(path))


def config_text(path: Path) -> str:
    """The text of assay.yaml.

    Raises:
        ConfigError: the file is missing or is no text.
    """
    if not path.exists():
        raise ConfigError(
            "there is no project here.",
            where=str(path),
            fix=f"{Step.CREATE_PROJECT}.",
        )
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"the file is not YAML: {error}.", where=str(path)) from None
    except OSError as error:
        raise ConfigError(f"the file cannot be read ({error.strerror}).", where=str(path)) from None


def read_config(text: str, where: str) -> Config:
    """Check the text of assay.yaml.

    Args:
        where: it comes from, for messages.

    Raises:
        ConfigError: it is not YAML, or does not fit the schema; the message names line and field.
    """
    config, problems = parsed_config(text)
    if config is None:
        first = problems[0]
        raise ConfigError(
            f"{first.field}: {first.message}" if first.field else first.message,
            where=f"{where}, line {first.line}" if first.line else where,
            fix=f"({len(problems)} problems in total.)" if len(problems) > 1 else None,
        )
    config.primary_grader()
    return config


def parsed_config(text: str) -> tuple[Config | None, list[Problem]]:
    """What a text of assay.yaml says; None, with every problem and its place, where it is none."""
    try:
        tree = yaml_text.read(text)
    except UNREADABLE as error:
        return None, [unreadable(error)]
    if not isinstance(tree, dict):
        return None, [Problem("the text is not a configuration (it has no `key: value` lines).")]
    try:
        return Config.model_validate(tree), []
    except ValidationError as error:
        return None, [locate(tree, raw["loc"], sentence(raw)) for raw in error.errors()]


def config_schema() -> dict[str, Any]:
    """JSON Schema of assay.yaml, for editors."""
    schema = Config.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "assay.yaml"
    return schema
