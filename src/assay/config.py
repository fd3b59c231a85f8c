"""The one schema of assay.yaml; the JSON Schema for editors is made from it."""

from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import regex
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from assay.errors import ConfigError

TaskKind = Literal["label", "json", "text"]
CONFIG_FILE = "assay.yaml"
STATE_FOLDER = ".assay"
STARTER_MODEL = "smollm2-135m-instruct"


class Strict(BaseModel):
    """A part of the configuration: an unknown key is an error, not a silent typo."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Columns(Strict):
    """Which columns (fields) of the file are what; only for files that are not conversations."""

    input: list[str] = Field(
        min_length=1, description="one column, or several, shown as `name: value` lines"
    )
    output: list[str] = Field(
        min_length=1, description="one column, or several, which become one JSON record"
    )
    id: str | None = None
    group: str | None = Field(None, description="rows with one value here never straddle a split")
    document: str | None = Field(
        None, description="the document that answers the row; empty where none does"
    )


class Split(Strict):
    """How examples are divided when the data brings no official split."""

    seed: int = 0
    validation: float = Field(
        0.15, gt=0, lt=0.5, description="share of the examples that are not holdout"
    )
    holdout: float = Field(
        0.2,
        gt=0,
        lt=0.9,
        description="share of all examples; without effect when `holdout` names a file",
    )


class Data(Strict):
    """Where the examples are and how to read them."""

    file: str
    holdout: str | None = Field(None, description="a file of its own keeps the official split")
    validation: str | None = None
    format: str | None = Field(None, description="found by content when null")
    columns: Columns | None = None
    split: Split = Split()
    train_rows: int | None = Field(
        None, ge=1, description="train on at most this many rows (drawn with the seed)"
    )
    holdout_rows: int | None = Field(
        None, ge=1, description="measure on at most this many rows (drawn with the seed)"
    )


class GraderSpec(Strict):
    """One grader and its settings, e.g. {name: numeric, settings: {tolerance: 0.01}}."""

    name: str
    settings: dict[str, Any] = {}

    @property
    def label(self) -> str:
        """The name under which its scores are kept: its own, or `settings.as`."""
        return str(self.settings.get("as", self.name))


class FewShot(Strict):
    """Numbers of shown examples that are tried on validation."""

    ks: list[int] = Field([1, 3, 8], min_length=1)


Auto = Literal["auto"]


class FineTuneSection(Strict):
    """How a version is trained; `auto` is decided by model and data size (docs/training.md)."""

    method: Literal["sft", "dpo", "ipo", "kto", "orpo"] = Field(
        "sft", description="sft: learn the answers; the others learn from preferences"
    )
    adapter: Literal["lora", "rslora", "dora", "full"] = Field(
        "lora", description="full: all weights, no adapter"
    )
    beta: float = Field(0.1, gt=0, description="of dpo, ipo, kto, orpo: how strong preferences are")
    teacher: str | None = Field(
        None, description="a larger model whose answers are learned (distillation)"
    )
    distill: Literal["auto", "answers", "logprobs"] = Field(
        "auto",
        description="what of a teacher is learned; auto: its log-probabilities where they fit",
    )
    rehearsal: float = Field(
        0.0, ge=0, le=0.5, description="share of general rows among those trained on (sft only)"
    )
    tracking: list[Literal["tensorboard", "mlflow"]] = Field(
        default_factory=list, description="where the curve is written too"
    )
    activation_checkpointing: Literal["auto", "on", "off"] = Field(
        "auto", description="computes activations twice to hold fewer; auto: only if it must"
    )
    tokens_per_pass: int = Field(
        4096, ge=64, description="most tokens at once, shared ones counted once; memory and speed"
    )
    rank: Annotated[int, Field(ge=1, le=512)] | Auto = "auto"
    alpha: int = Field(32, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)
    learning_rate: Annotated[float, Field(gt=0)] | Auto = "auto"
    epochs: Annotated[int, Field(ge=1)] | Auto = Field(
        "auto", description="at most; early stopping may end sooner"
    )
    rows_per_step: Annotated[int, Field(ge=1)] | Auto = "auto"
    warmup: float = Field(0.05, ge=0, lt=1, description="share of the steps")
    weight_decay: float = Field(0.0, ge=0)
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    patience: int = Field(
        2, ge=1, description="epochs without a better validation loss before it stops"
    )
    max_tokens: int = Field(1024, ge=16, description="longer examples are rejected, never cut")
    system_prompt: str | None = Field(
        None, description="null: the agent's own; a short one trains faster"
    )
    seed: int = 0

    @field_validator("rank", "learning_rate", "epochs", "rows_per_step", mode="wrap")
    @classmethod
    def _one_problem(cls, value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        """One message for a wrong value, not one for each type that it might have had."""
        try:
            return check(value)
        except ValidationError as error:
            raise ValueError(f"{error.errors()[0]['msg']}, or auto") from None


class FineTune(FineTuneSection):
    """What the trainer takes: every number fixed (`assay.train.auto` fixes those left open)."""

    rank: int = Field(16, ge=1, le=512)
    learning_rate: float = Field(1e-3, gt=0)
    epochs: int = Field(4, ge=1)
    rows_per_step: int = Field(8, ge=1)


SearchMode = Literal["bm25", "dense", "hybrid"]


class KnowledgeSection(Strict):
    """Documents that candidates look into; how they are searched is chosen on validation."""

    name: str = Field("documents", description="of the knowledge, as `assay knowledge` knows it")
    paths: list[str] = Field(
        default_factory=list,
        description="files and folders, added before a comparison; those gone since stay until "
        "they are removed",
    )
    labels: list[str] | None = Field(
        None, min_length=1, description="search only documents with one of these; null: all"
    )
    chunk_tokens: list[Annotated[int, Field(ge=16)]] = Field(
        default_factory=list, description="sizes of passages that are tried; empty: the usual one"
    )
    modes: list[SearchMode] = Field(
        ["bm25", "dense", "hybrid"], min_length=1, description="ways of searching that are tried"
    )
    weights: list[Annotated[float, Field(ge=0, le=1)]] = Field(
        [0.3, 0.5, 0.7],
        description="of meaning in a hybrid search, tried beside fusion by ranks where at least "
        "ten validation rows name their document",
    )
    rerank: str | None = Field(
        None,
        description="a cross-encoder (folder or hub id) that orders the best passages anew; tried "
        "where at least ten validation rows name their document",
    )
    ks: list[Annotated[int, Field(ge=1, le=50)]] = Field(
        [1, 3, 5], min_length=1, description="numbers of passages that are tried"
    )
    abstain: str | None = Field(
        None,
        min_length=1,
        description="what is to be said where no passage holds the answer; in the data, the "
        "target of rows that no document answers",
    )
    distractors: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="fine-tune-rag: share of training rows whose own document is hidden",
    )


class PromptSearch(Strict):
    """How `prompt-optimised` looks for a better system prompt."""

    proposer: str | None = Field(
        None, description="`remote:PROVIDER/MODEL` that proposes edits; null: fixed variants only"
    )
    proposals: int = Field(8, ge=1, le=100, description="edits asked for, one request each")


class Generate(Strict):
    """How answers are generated."""

    max_new_tokens: int = Field(128, ge=1)
    constrained: Literal["auto", "on", "off"] = Field(
        "auto", description="auto: chosen on validation per candidate"
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of local models; auto: bfloat16 where this machine is fast at it"
    )


class TokenPrice(Strict):
    """What a provider takes for a model's tokens, USD per million; null is unknown, never 0."""

    input: float | None = Field(None, ge=0, description="of the prompt")
    cached: float | None = Field(
        None, ge=0, description="of the prompt, where the provider had it cached; null: as input"
    )
    output: float | None = Field(None, ge=0, description="of the answer, reasoning included")


class Provider(Strict):
    """An endpoint elsewhere; its models are `remote:NAME/MODEL` (docs/providers.md)."""

    base_url: str = Field(description="up to and with /v1, e.g. https://api.openai.com/v1")
    protocol: Literal["openai", "anthropic"] = Field(
        "openai", description="chat completions as OpenAI has them, or Anthropic's messages"
    )
    key_env: str | None = Field(None, description="the environment variable that holds the key")
    key_file: str | None = Field(
        None,
        description="a file that holds the key and nothing else; neither: `assay providers add`",
    )
    key_header: str | None = Field(
        None, description="header for the key alone (Azure: api-key); null: as the protocol has it"
    )
    query: dict[str, str] = Field(
        default_factory=dict, description="put behind the address, such as Azure's api-version"
    )
    headers: dict[str, str] = Field(
        default_factory=dict, description="sent along; ${NAME} stands for an environment variable"
    )
    consent: bool = Field(False, description="true: this project's rows may be sent there")
    private_network: bool | list[str] = Field(
        False,
        description="networks inside that are allowed (10.2.0.0/16), over plain http too; true: "
        "all loopback and private addresses",
    )
    ca_file: str | None = Field(None, description="certificates to be trusted as well, PEM")
    client_cert: str | None = Field(None, description="our own certificate (mTLS), PEM")
    client_key: str | None = Field(None, description="its private key, PEM")
    proxy: str | None = Field(
        None, description="http://host:port; ${NAME} stands for an environment variable"
    )
    concurrency: int = Field(4, ge=1, le=64, description="requests of a comparison at once")
    timeout_s: float = Field(60.0, gt=0, description="for one answer, or a stream's first token")
    stall_s: float = Field(30.0, gt=0, description="longest silence inside a stream")
    retries: int = Field(3, ge=0, le=10, description="after an outage, a 429 or a cut answer")
    prices: dict[str, TokenPrice] = Field(
        default_factory=dict, description="by model, instead of the list that comes with Assay"
    )

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("use an address such as https://api.openai.com/v1")
        try:
            _ = parts.port
        except ValueError:
            raise ValueError("its port is no number from 1 to 65535") from None
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                "leave out user, password, ? and #; the key goes into `assay providers add`"
            )
        if not value.isascii() or not value.isprintable() or set(value) & set(" \\"):
            raise ValueError("use printable ASCII characters without spaces or backslashes")
        return value.rstrip("/")

    @field_validator("private_network")
    @classmethod
    def _are_networks(cls, value: bool | list[str]) -> bool | list[str]:
        for network in value if isinstance(value, list) else ():
            try:
                ip_network(network)
            except ValueError as error:
                raise ValueError(f"{error}; use a network such as 10.2.0.0/16") from None
        return value

    @field_validator("headers")
    @classmethod
    def _are_free_headers(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or name.lower() in _OURS:
                raise ValueError(f"{name!r} cannot be set")
            if not text.isascii() or not text.isprintable():
                raise ValueError(f"{name} has characters that no header may have")
        return value

    @field_validator("proxy")
    @classmethod
    def _is_a_proxy(cls, value: str | None) -> str | None:
        if value is None or "${" in value:
            return value
        parts = urlsplit(value)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError("use an address such as http://proxy.example.com:3128")
        if parts.username or parts.password:
            raise ValueError("put an address with a password into a variable: ${PROXY}")
        return value

    @model_validator(mode="after")
    def _is_safe(self) -> Provider:
        if self.base_url.startswith("http:"):
            if not self.private_network:
                raise ValueError("https is required, unless private_network allows the address")
            if self.proxy:
                raise ValueError("a proxy is used with https only")
        if self.key_env and self.key_file:
            raise ValueError("use key_env or key_file, not both")
        if self.client_key and not self.client_cert:
            raise ValueError("client_key needs client_cert")
        return self

    @property
    def origin(self) -> str:
        """Scheme, host and port, spelled in one way: what a key and a consent are good for."""
        parts = urlsplit(self.base_url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = str(parts.hostname).rstrip(".")
        return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}"


_OURS = frozenset(
    [
        "accept",
        "accept-encoding",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "host",
        "keep-alive",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-api-key",
        "api-key",
    ]
)
"""Headers that the configuration may not set: ours, and those that carry a key."""


class Vllm(Strict):
    """A running vLLM server, which answers for this project in the place of llama.cpp."""

    base_url: str = Field(description="up to and with /v1, e.g. http://127.0.0.1:8001/v1")
    key_env: str | None = Field(
        None, description="the environment variable that holds its --api-key"
    )
    at_once: int = Field(
        256, ge=1, le=4096, description="requests under way; one more is told to wait"
    )
    timeout_s: float = Field(120.0, gt=0, description="of silence")

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        try:
            return Provider(base_url=value, private_network=True).base_url
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None

    def provider(self) -> Provider:
        """The same as any endpoint is described; loopback and private addresses are allowed."""
        return Provider(base_url=self.base_url, key_env=self.key_env, private_network=True)


REMOTE = "remote:"
"""What a reference to a provider's model begins with."""
RemoteModel = Annotated[str, Field(pattern=r"^remote:[a-z0-9][a-z0-9-]{0,62}/.+$")]
"""`remote:PROVIDER/MODEL`."""


class RouteConditions(Strict):
    """What a rule of a route asks of a request; all that are stated must hold."""

    pattern: str | None = Field(
        None, max_length=1000, description="a regular expression found anywhere in the input"
    )
    longer_than: int | None = Field(None, ge=0, description="characters of the input")
    shorter_than: int | None = Field(None, ge=1, description="characters of the input")
    languages: tuple[Annotated[str, Field(pattern=r"^[a-z]{2}$")], ...] | None = Field(
        None, min_length=1, description="codes such as en, de; an uncertain language is none"
    )
    labels: tuple[str, ...] | None = Field(
        None, min_length=1, description="labels that a TF-IDF classifier gives to the input"
    )

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                regex.compile(value)
            except regex.error as error:
                raise ValueError(f"{value!r} is no regular expression: {error}") from None
        return value

    @model_validator(mode="after")
    def _asks_something(self) -> RouteConditions:
        asked = (self.pattern, self.longer_than, self.shorter_than, self.languages, self.labels)
        if all(value is None for value in asked):
            raise ValueError(
                "a rule needs a condition: pattern, longer_than, shorter_than, languages or labels"
            )
        return self


class RouteRule(RouteConditions):
    """Where a request goes that meets the conditions; the first rule that holds decides."""

    to: str = Field(description="a candidate, NAME@VERSION of a saved agent, or a model")


class RouteSection(Strict):
    """Arms of the candidates `cascade`, `router` and `rules` (docs/routing.md).

    An arm is a candidate's name, NAME@VERSION of a saved agent, or a model.
    """

    cheap: str | None = Field(None, description="of cascade and router: asked first")
    strong: str | None = Field(None, description="of cascade and router: asked where it must be")
    target: float = Field(
        0.95, gt=0, le=1, description="share of the strong arm's quality to be kept"
    )
    most_strong: float | None = Field(
        None,
        ge=0,
        le=1,
        description="in place of target: the best quality with at most this share of requests "
        "going to the strong arm",
    )
    rules: list[RouteRule] = Field(default_factory=list, description="of the candidate `rules`")
    otherwise: str | None = Field(None, description="where a request goes that no rule holds for")

    @model_validator(mode="after")
    def _is_whole(self) -> RouteSection:
        if (self.cheap is None) != (self.strong is None):
            raise ValueError("name both, cheap and strong")
        if bool(self.rules) != (self.otherwise is not None):
            raise ValueError("rules and otherwise go together")
        if self.cheap is not None and self.cheap == self.strong:
            raise ValueError("cheap and strong are the same")
        for arm in (self.cheap, self.strong, self.otherwise, *(rule.to for rule in self.rules)):
            if arm in ROUTED:
                raise ValueError(
                    f"{arm} is a route itself, which would go in a circle; save it as an agent and "
                    "name it NAME@VERSION"
                )
        return self


ROUTED = ("cascade", "router", "rules")
"""Candidates whose answers come from other agents."""


class Costs(Strict):
    """Prices for the cost to own. Null means unknown, which is never counted as 0."""

    machine_hour_usd: float | None = Field(
        0.2, ge=0, description="a machine that serves the local model"
    )
    person_hour_usd: float | None = Field(60.0, ge=0)
    prompt_hours: float = Field(2.0, ge=0, description="writing and trying a prompt, once")
    curation_hours: float = Field(
        8.0, ge=0, description="collecting and checking training examples, once"
    )
    retrainings_per_year: float = Field(2.0, ge=0)
    hours_per_retraining: float = Field(2.0, ge=0, description="fresh examples, gate, release")


class Config(Strict):
    """assay.yaml."""

    version: Literal[1] = 1
    name: str
    task: TaskKind
    model: str = STARTER_MODEL
    data: Data
    system_prompt: str = ""
    labels: list[str] | None = Field(None, description="the closed set of outputs of a label task")
    output_schema: dict[str, Any] | None = Field(
        None, description="JSON Schema of a json task's outputs"
    )
    graders: list[GraderSpec] = Field(min_length=1)
    primary: str = Field(description="the grader that decides")
    good_enough: float | None = Field(
        None, ge=0, le=1, description="below this no way is worth having"
    )
    monthly_requests: int = Field(10_000, ge=0)
    margin: float = Field(0.02, gt=0, lt=1, description="a difference this small does not matter")
    candidates: list[str] = Field(min_length=1)
    route: RouteSection | None = Field(None, description="for cascade, router and rules")
    few_shot: FewShot = FewShot()
    fine_tune: FineTuneSection = FineTuneSection()
    knowledge: KnowledgeSection | None = Field(None, description="needed by candidates with `rag`")
    prompt_search: PromptSearch = PromptSearch()
    generate: Generate = Generate()
    providers: dict[str, Provider] = Field(
        default_factory=dict, description="endpoints of models elsewhere, by a name of your own"
    )
    vllm: Vllm | None = Field(None, description="serve from a GPU machine's vLLM")
    fallback: dict[str, list[str]] = Field(
        default_factory=dict,
        description="model -> who answers in its place while it fails, in order; when serving",
    )
    remote: RemoteModel | None = Field(
        None, description="the model of the candidate `remote`: remote:PROVIDER/MODEL"
    )
    costs: Costs = Costs()

    @field_validator("name")
    @classmethod
    def _name_is_a_slug(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", value):
            raise ValueError("use small letters, digits and hyphens, at most 63")
        return value

    @field_validator("providers")
    @classmethod
    def _names_are_slugs(cls, value: dict[str, Provider]) -> dict[str, Provider]:
        for name in value:
            if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", name):
                raise ValueError(f"{name!r}: use small letters, digits and hyphens, at most 63")
        return value

    @field_validator("model")
    @classmethod
    def _is_on_this_machine(cls, value: str) -> str:
        if value.startswith(REMOTE):
            raise ValueError(
                "the project's model is trained and served on this machine; a provider's model can "
                "be fine_tune.teacher, or take part as `remote`"
            )
        return value

    @model_validator(mode="after")
    def _documents_are_named(self) -> Config:
        if self.knowledge is None and any("rag" in name.split("-") for name in self.candidates):
            raise ValueError("candidates with rag need `knowledge`: the documents they look into")
        return self

    @model_validator(mode="after")
    def _routes_are_described(self) -> Config:
        for name in ROUTED:
            if name not in self.candidates:
                continue
            route = self.route
            given = route and (route.rules if name == "rules" else route.cheap)
            if not given:
                needed = "rules and otherwise" if name == "rules" else "cheap and strong"
                raise ValueError(f"the candidate {name} needs {needed} in `route`")
        return self

    def primary_grader(self) -> GraderSpec:
        """The grader that decides."""
        for grader in self.graders:
            if grader.label == self.primary:
                return grader
        names = ", ".join(g.label for g in self.graders)
        raise ConfigError(
            f"primary is {self.primary!r}, which is no grader of this project.",
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
            fix="Make one with `assay init NAME --data FILE`, or change to its folder.",
        )
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"this is not YAML: {error}.", where=str(path)) from None


def read_config(text: str, where: str) -> Config:
    """Check the text of assay.yaml.

    Args:
        where: it comes from, for messages.

    Raises:
        ConfigError: it is not YAML, or does not fit the schema; the message names line and field.
    """
    try:
        tree = YAML().load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(f"this is not YAML: {problem}.", where=f"{where}{line}") from None
    if not isinstance(tree, dict):
        raise ConfigError("this is not a configuration (no `key: value` lines).", where=where)
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        number = _line_of(tree, first["loc"])
        raise ConfigError(
            f"{field}: {first['msg'].removeprefix('Value error, ')}.",
            where=f"{where}, line {number}" if number else where,
            fix=f"({error.error_count()} problems in all.)" if error.error_count() > 1 else None,
        ) from None
    config.primary_grader()
    return config


def _line_of(tree: Any, loc: tuple[int | str, ...]) -> int | None:
    """Line (from 1) of the innermost part of `loc` that exists in a tree ruamel has read."""
    line = None
    for part in loc:
        try:
            position = tree.lc.data[part]
            tree = tree[part]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
        line = position[0] + 1
    return line


def config_schema() -> dict[str, Any]:
    """JSON Schema of assay.yaml, for editors."""
    schema = Config.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "assay.yaml"
    return schema
