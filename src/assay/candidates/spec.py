"""What the rest of the program asks about a candidate: `SPEC` of its file, beside `build`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from assay.config import Config, is_remote, labels_in
from assay.errors import ConfigError
from assay.evaluate.run import BATCH_SIZE
from assay.models.encoder_size import STARTER_SIZE, EncoderSize
from assay.train.methods import registry as training_methods

Part = Literal["train", "validation", "holdout"]
AnsweredBy = Literal["model", "provider", "classifier", "rows"]
MEASURED: tuple[Part, ...] = ("validation", "holdout")
Family = Literal["prompt", "examples", "fitted", "documents", "training", "provider", "routes"]
FAMILIES: dict[Family, str] = {
    "prompt": "nothing to train",
    "examples": "nothing to train",
    "fitted": "trained in seconds",
    "documents": "documents to search",
    "training": "trained in minutes to hours",
    "provider": "a model at a provider",
    "routes": "other agents to choose from",
}
"""What a candidate of each family needs beside the rows, cheapest first."""
PASSAGE_TOKENS = 200
"""Of a passage of documents, at most what knowledge is cut into by default."""
CHARACTERS_PER_TOKEN = 4
"""Of prose."""
TIMED_ANSWERS = 31
"""That `compare.performance` asks for, together and one by one, to time them."""


@dataclass(frozen=True, slots=True)
class Need:
    """A condition on assay.yaml without which a candidate cannot take part.

    Attributes:
        name: what is needed, in one or two words.
        is_met: whether a configuration has it.
        refusal: message on a candidate `{name}` in a configuration `{config}` that lacks it.
        fix: what to do about it.
        setting: of assay.yaml that the message is about.
        opens_without: whether a project that lacks it can be opened, and only not be compared.
    """

    name: str
    is_met: Callable[[Config], bool]
    refusal: str
    fix: str | None = None
    setting: str = "candidates"
    opens_without: bool = False

    def check(self, name: str, config: Config) -> None:
        """Refuse a configuration that does not meet it.

        Args:
            name: of the candidate.

        Raises:
            ConfigError: it is not met.
        """
        if not self.is_met(config):
            refusal = self.refusal.format(name=name, config=config)
            raise ConfigError(refusal, where=f"assay.yaml, {self.setting}", fix=self.fix)


def listed_labels(config: Config) -> list[str] | None:
    """The labels of a task whose answers are lists of some of them, as `output_schema` says."""
    return None if config.task != "json" else labels_in(config.output_schema)


LABELS = Need(
    "labels", lambda config: config.task == "label", "{name} needs a label task.", "Remove it."
)
ANY_LABELS = Need(
    "labels, one or several",
    lambda config: config.task == "label" or listed_labels(config) is not None,
    "{name} needs a label task, or answers that are lists of labels.",
    "Remove it, or name the labels: output_schema: {type: array, items: {enum: [...]}}.",
)
RECORDS = Need(
    "records", lambda config: config.task == "json", "{name} needs a json task.", "Remove it."
)
CALLS = Need(
    "calls", lambda config: config.task == "tools", "{name} needs a tools task.", "Remove it."
)
FREE_TEXT = Need(
    "answers in free text",
    lambda config: config.task == "text",
    "{name} needs a text task: its answers are sentences of documents, never a label or a record.",
    "Remove it.",
    opens_without=True,
)
DOCUMENTS = Need(
    "documents",
    lambda config: config.knowledge is not None,
    "the candidate {name} needs `knowledge`: the documents that it searches.",
    "Add `knowledge: {paths: [knowledge]}`, or remove it.",
)
DOCUMENTS_OF_TEXT = replace(
    DOCUMENTS,
    name="documents where it learns them",
    is_met=lambda config: (
        config.knowledge is not None
        or not training_methods.learns_documents(config.fine_tune.method)
    ),
    refusal="{name} with method: {config.fine_tune.method} needs `knowledge`: the documents that "
    "it learns.",
    fix="Add `knowledge: {paths: [knowledge]}`, or choose another fine_tune.method.",
    opens_without=True,
)
ARMS = Need(
    "two agents",
    lambda config: config.route is not None and config.route.cheap is not None,
    "the candidate {name} needs cheap and strong in `route`.",
    "Add `route: {cheap: ..., strong: ...}`.",
)
RULES = Need(
    "rules",
    lambda config: config.route is not None and bool(config.route.rules),
    "the candidate {name} needs rules and otherwise in `route`.",
    "Add `route: {rules: [...], otherwise: ...}`.",
)
PROVIDER = Need(
    "a model at a provider",
    lambda config: config.remote is not None,
    "the candidate {name} needs a model.",
    "Set one: remote: remote:PROVIDER/MODEL.",
    setting="remote",
    opens_without=True,
)
RECORDING = Need(
    "recorded answers",
    lambda config: config.recorded is not None,
    "the candidate {name} needs recorded answers.",
    "Name their file: recorded: FILE (`assay rescue record` writes it).",
    setting="recorded",
    opens_without=True,
)
METHOD = Need(
    "a training method",
    lambda config: config.fine_tune.method in training_methods.specs(),
    "{name} cannot be trained: there is no training method {config.fine_tune.method!r}.",
    "Choose another one, or install its package.",
    setting="fine_tune.method",
    opens_without=True,
)
LEARNS_ANSWERS = Need(
    "a method that learns answers or documents",
    lambda config: config.fine_tune.method in ("sft", "text"),
    "{name} learns the documents and then the answers of the rows, so that it cannot use "
    "fine_tune.method {config.fine_tune.method}.",
    "Set method: sft, or remove it.",
    setting="fine_tune.method",
    opens_without=True,
)
ONE_PROCESS = Need(
    "one process a training",
    lambda config: config.place.size == 1,
    "{name} learns from graders, which several processes cannot share yet.",
    "Set place.ranks: 1, use `--on here`, or remove it.",
    setting="place",
    opens_without=True,
)
ONE_PROCESS_OF_GRADERS = replace(
    ONE_PROCESS,
    name="one process a training where it learns from graders",
    is_met=lambda config: config.fine_tune.method != "reinforcement" or config.place.size == 1,
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Counts an estimate is made from; tokens are means over a sample.

    Attributes:
        system_tokens: of the prefix that all requests share.
        input_tokens, output_tokens: of one example.
        parameters: of the language model.
        embeddings: those in its input embeddings and head, where they are trained: a weight, its
            gradient and two moments each.
        unlabelled: inputs that are answered beside the holdout, at most.
        turns: answers that whole dialogues of the holdout take, at most, about.
        judged: pairs of answers that people have judged, by the label of the judge that is put to
            them.
        passages: of the documents that are indexed; 0 before they are.
        embedder: what turns texts into vectors for `classifier` and the like.
        document_embedder: that of the knowledge base.
        reranker: `knowledge.rerank`, where there is one.
    """

    train: int
    validation: int
    holdout: int
    system_tokens: float
    input_tokens: float
    output_tokens: float
    parameters: float
    context: int
    embeddings: int = 0
    unlabelled: int = 0
    turns: int = 0
    judged: Mapping[str, int] = field(default_factory=dict)
    passages: int = 0
    embedder: EncoderSize = STARTER_SIZE
    document_embedder: EncoderSize = STARTER_SIZE
    reranker: EncoderSize = STARTER_SIZE

    @property
    def read_tokens(self) -> float:
        """Of an example's input, those that the embedder looks at."""
        return min(self.input_tokens, self.embedder.limit)


@dataclass(frozen=True, slots=True)
class ProviderRequests:
    """Requests to a model at a provider.

    Attributes:
        model: remote:PROVIDER/MODEL.
        prompt_tokens: of one, about.
        answer_tokens: that one answer may have at most.
        most_usd: what all of them may cost at most, where that is limited.
        batched: of `count`, those that the provider's batches are asked where its settings say so.
    """

    model: str
    count: float
    prompt_tokens: float
    answer_tokens: float
    most_usd: float | None = None
    batched: float = 0.0


@dataclass(frozen=True, slots=True)
class Workload:
    """What building a candidate and answering with it takes, as counts; speeds are the machine's.

    Attributes:
        runs: one number for each time that all of validation is answered: how many examples' worth
            of tokens stand in a request beside its input and are not shared with other requests.
            The holdout is answered as in the last run.
        answer_tokens: mean tokens of one answer, its end included.
        answered_by: the project's model, a provider, a classifier that is fitted in seconds, or the
            rows themselves, looked up or counted; the last two answer in next to no time.
        embedded, embedded_documents, reranked: tokens that each encoder of `Sizes` reads; each time
            it is trained on one counts as three.
        texts_per_step: that the embedder is trained on at once; 0: it is not trained.
        tunes_search: whether that of the documents is, and the cross-encoder where there is one.
        requests: to models at providers, those on validation and on the holdout included.
        searched: answers that are asked for beside those on validation, to choose a prompt.
        trained: mean length of a row that is trained on, in lengths of an example with its system
            prompt; 0 where no language model is trained.
        drawn: answers that each training asks for, to learn from them.
        start: the version that it trains first, and goes on from, where others hold the same
            (`CandidateSpec.version`).
        trained_from_start, requests_from_start: of `trained` and `requests`, what is left where
            that version is there already.
    """

    runs: tuple[float, ...]
    answer_tokens: float
    answered_by: AnsweredBy = "model"
    embedded: float = 0.0
    embedded_documents: float = 0.0
    reranked: float = 0.0
    texts_per_step: int = 0
    tunes_search: bool = False
    searched: int = 0
    trained: float = 0.0
    drawn: int = 0
    start: str = ""
    trained_from_start: float = 0.0
    requests: tuple[ProviderRequests, ...] = ()
    requests_from_start: tuple[ProviderRequests, ...] = ()

    def trained_before(self) -> Workload:
        """The same where its version is there already."""
        return replace(self, trained=0.0, drawn=0, requests=())

    def started_before(self) -> Workload:
        """The same where the version that it starts from is there already."""
        left = self.requests_from_start
        return replace(self, trained=self.trained_from_start, requests=left)


Estimate = Callable[[Config, Sizes], Workload]
Sendings = Iterable[tuple[str, tuple[Part, ...]]]


def prompted(config: Config, sizes: Sizes) -> Workload:
    """One run on validation for each kind of constraint that is tried; answers as in the rows."""
    return Workload((0.0,) * constraints(config), sizes.output_tokens + 1)


def asked_rows(
    model: str | None,
    rows: float,
    config: Config,
    sizes: Sizes,
    batched: float = 0.0,
    *,
    shown: int = 0,
) -> tuple[ProviderRequests, ...]:
    """Rows that a model is asked as the project asks it; none where it is on this machine.

    Args:
        shown: examples in each request.
    """
    if model is None or not is_remote(model):
        return ()
    example = sizes.input_tokens + sizes.output_tokens
    prompt = sizes.system_tokens + sizes.input_tokens + shown * example
    answer = config.generate.max_new_tokens
    return (ProviderRequests(model, rows, prompt, answer, batched=batched),)


def in_batches(*runs: float) -> float:
    """Requests of those of some runs that a provider's batches are asked: a short run is not."""
    return sum(rows for rows in runs if rows > BATCH_SIZE)


def constraints(config: Config) -> int:
    """How many kinds of constraint are tried on validation: answers are free, held to a form."""
    held = config.task in ("label", "json") or (
        config.task == "tools" and not is_remote(config.model)
    )
    return 2 if config.generate.constrained == "auto" and held else 1


def passage_runs(config: Config, sizes: Sizes, further: int = 0) -> tuple[float, ...]:
    """The runs of a candidate with passages, see `Workload.runs`.

    Args:
        further: runs with the largest number of passages, beside those of `prompted`.
    """
    ks = sorted(config.knowledge.ks) if config.knowledge is not None else [0]
    each = PASSAGE_TOKENS / max(sizes.input_tokens + sizes.output_tokens, 1.0)
    return (
        *(k * each for k in ks),
        *[ks[-1] * each] * (further + constraints(config) - 1),
    )


def unshown_answer_tokens(config: Config, sizes: Sizes) -> float:
    """Tokens of an answer by a model that has never seen one as it should be.

    Where no constraint holds it to a form it explains itself, mostly until its tokens end.
    """
    held = config.task == "label"  # free texts of a record run on as well
    return sizes.output_tokens + 1 if held else config.generate.max_new_tokens


@dataclass(frozen=True, slots=True)
class CandidateSpec:
    """What is known of a candidate before it is built.

    Attributes:
        title: what it is, in a few words that follow its name.
        explanation: what it does and costs, one or two sentences for a beginner.
        family: groups candidates in lists by what they need, see `FAMILIES`.
        estimate: the work it takes, from the configuration and the counts of the data.
        needs: conditions that assay.yaml has to meet.
        sends: (model or arm of a route, parts whose rows it is asked about), of every model beside
            the project's own.
        baseline: takes part unasked wherever its needs are met, unless `baselines` is off.
        floor: a baseline that every other has to beat; it is never recommended.
        proposed: a new project compares it, where its needs are met.
        answers_from_rows: its answers are learned from training rows, shown some or looked up in
            them, so that what it scores on these rows is its memory.
        learns_from_rows: it is another one with more training rows, whatever it takes from them.
        version: what it trains, where others hold the same: the first that is built trains it.
        combines: names of the candidates with neither, the first and the second of what it puts
            together; what each adds to the other is reported where all four take part.
    """

    title: str
    explanation: str
    family: Family
    estimate: Estimate = prompted
    needs: tuple[Need, ...] = ()
    sends: Callable[[Config], Sendings] = lambda config: ()
    baseline: bool = False
    floor: bool = False
    proposed: bool = False
    answers_from_rows: bool = False
    learns_from_rows: Callable[[Config], bool] = lambda config: True
    version: str = ""
    combines: tuple[str, str, str] | None = None

    def is_possible(self, config: Config) -> bool:
        """Whether a configuration meets all needs."""
        return all(need.is_met(config) for need in self.needs)
