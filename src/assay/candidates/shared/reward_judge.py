"""Models that say what answers are worth while a version learns from them.

    <folder>/<grader>.jsonl      one reply a line, by the hash of what was asked

What was asked once is not asked again, whichever training of the folder asks: late in a training
most answers have been seen before. The limits hold for all of these trainings together, also where
several run at once: while one asks, the others wait. Where a judge does not answer, or a limit is
reached, the training stops with a checkpoint and the same command goes on. A reply that says
nothing gives its answer 0; so does a question that is refused, which the next training asks again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from assay import json_reader
from assay.agent.prices import cost_usd
from assay.agent.providers import Providers, provider_of
from assay.config import CONFIG_FILE, is_remote, split_reference
from assay.config.reinforcement import Reinforcement
from assay.errors import ConfigError, OutageError, ProviderError, UsageError
from assay.evaluate.model_graders import (
    MODEL_GRADERS,
    LabelModel,
    ScoreModel,
    answer_schema,
    fill_messages,
    read_reply,
    reply_tokens,
)
from assay.evaluate.rewards import PROJECT_GRADER, Grader, parts_of
from assay.evaluate.templates import TooLongError, VariableError
from assay.example import Message, json_sha256
from assay.generate.batch import Answer, Request
from assay.progress import SILENT, Progress
from assay.quantities import say_count
from assay.store.files import one_at_a_time

WHERE = f"{CONFIG_FILE}, fine_tune.reinforcement"
AGAIN = "Run the same command again: the training goes on where it stopped."
TOGETHER = 64
"""Questions that are asked at once; what they may cost at most is looked at before."""
MANY = 8
"""Questions that are refused together show that the judge takes none, even where it took some
before; fewer may each have something that it does not take."""
PAUSES_S = (5.0, 30.0)
"""Before a judge that was away is asked again, beside the tries of every run."""
_CHARACTERS = 2
"""Of a token, at least about: what a question costs at most."""
_UNHEEDED = ("top_p", "reasoning_effort")
Ask = Callable[[str, Sequence[Request]], Sequence[Answer]]


def judges_of(grader: Grader) -> list[ScoreModel | LabelModel]:
    """The parts of a grader that ask a model."""
    return [part for part in parts_of(grader) if isinstance(part, MODEL_GRADERS)]


def judges_of_setting(reward: Any) -> list[ScoreModel | LabelModel]:
    """The same of what `fine_tune.reinforcement.reward` says; none where that is written wrongly,
    which is said when it is used."""
    if not isinstance(reward, dict):
        return []
    try:
        return judges_of(PROJECT_GRADER.validate_python(reward))
    except ValidationError:
        return []


def check_judges(grader: Grader) -> None:
    """Refuse a judge whose replies cannot be a reward as they are meant.

    Raises:
        UsageError: a setting has no effect here, or a reply that says nothing, which is worth 0,
            would not be the worst one.
    """
    for part in judges_of(grader):
        if not isinstance(part, ScoreModel):
            continue
        if part.range[0] < 0:
            raise UsageError(
                f"the range of {part.name} begins below 0, the reward where the model's reply "
                "cannot be read: worse answers would be worth less than that.",
                fix="Let it begin at 0, such as [0, 10].",
            )
        for name in _UNHEEDED:
            if part.sampling_params is not None and getattr(part.sampling_params, name) is not None:
                raise UsageError(f"{name} of {part.name} has no effect on a reward.")


class RewardJudge:
    """Asks the models of a grader.

    Args:
        own: with the limits.
        folder: where replies are kept; the limits hold for all that was asked with it.
        ask: puts requests to a model, see `GradingContext.ask`.
        providers: with the prices of their models.
        sleep: waits so many seconds.
        where: the grader is written, for errors.
        again: what to do where the judge has not answered.
        progress: is told how many replies say nothing.

    Raises:
        ConfigError: a limit in USD cannot be kept, for a price is not known; a provider that
            nobody has agreed to.
    """

    def __init__(
        self,
        grader: Grader,
        own: Reinforcement,
        folder: Path,
        ask: Ask,
        providers: Providers,
        sleep: Callable[[float], None] = time.sleep,
        where: str = f"{WHERE}.reward",
        again: str = AGAIN,
        progress: Progress = SILENT,
    ) -> None:
        self._grader, self._own, self._sleep = grader, own, sleep
        self._ask_model, self._providers = ask, providers
        self._where, self._again, self._progress = where, again, progress
        key = json_sha256(grader.model_dump(mode="json"))[:16]
        self._file = folder / f"{key}.jsonl"
        self._replies: dict[str, str] = {}
        self._replied: set[str] = set()
        self._end = 0
        self.calls, self.usd = 0, 0.0
        for part in judges_of(grader):
            if self._own.judge_usd is not None:
                self._cost(part.model, 0, 0)
        self._read()

    def ask(self, names: Sequence[Mapping[str, Any]]) -> None:
        """Ask what is not known yet of some answers.

        Args:
            names: what `item` and `sample` stand for, of each.

        Raises:
            ConfigError: a limit is reached.
            OutageError: a judge does not answer.
            ProviderError: it refuses every question.
        """
        for part in judges_of(self._grader):
            wanted: dict[str, Request] = {}
            for one in names:
                try:
                    request = _request(part, one)
                except (VariableError, TooLongError):
                    continue
                wanted.setdefault(_key(part, request), request)
            new = [key for key in wanted if key not in self._replies]
            while missing := [key for key in wanted if key not in self._replies][:TOGETHER]:
                with one_at_a_time(self._file.with_suffix(".lock"), lambda: None):
                    self._read()  # what others have asked meanwhile
                    missing = [key for key in missing if key not in self._replies]
                    if missing:
                        self._ask(part.model, {key: wanted[key] for key in missing})
            if unread := sum(read_reply(part, self._replies[key]) is None for key in new):
                self._progress.say(
                    f"The judge {part.model} has no score for {unread} of "
                    f"{say_count(len(new), 'new answer')}, worth 0 then: its replies cannot be "
                    "read, or it refused the question."
                )

    def __call__(self, grader: ScoreModel | LabelModel, names: Mapping[str, Any]) -> float | None:
        """What a judge that was asked says; None: nothing.

        Raises:
            VariableError, TooLongError: it could not be asked.
        """
        return read_reply(grader, self._replies[_key(grader, _request(grader, names))])

    def _ask(self, model: str, wanted: Mapping[str, Request]) -> None:
        self._check_limits(model, list(wanted.values()))
        keys = list(wanted)
        answers = self._answers(model, [wanted[key] for key in keys])
        replied = [pair for pair in zip(keys, answers, strict=True) if pair[1].has_answered]
        self._keep(model, replied, wanted)
        failed = [answer for answer in answers if answer.finish == "error"]
        if failed:
            count = say_count(len(answers), "question")
            left = f"the judge {model} left {len(failed)} of {count} unanswered"
            raise OutageError(
                f"{left} ({failed[0].error}).",
                plain=f"{left}.",
                fix=self._again,
            )
        if not replied and (model not in self._replied or len(answers) >= MANY):
            refuses = f"the judge {model} refuses every question"
            raise ProviderError(
                f"{refuses} ({answers[0].error}).",
                plain=f"{refuses}.",
                where=self._where,
                fix="Choose another judge, or check which requests this one accepts.",
            )
        for key, answer in zip(keys, answers, strict=True):
            if not answer.has_answered:
                self._note(key, "", 0.0)

    def _keep(
        self, model: str, replied: Sequence[tuple[str, Answer]], wanted: Mapping[str, Request]
    ) -> None:
        """Keep replies for those who ask later; never a refusal, whose cause may be mended."""
        lines = []
        for key, answer in replied:
            usd = self._most(model, wanted[key])
            if answer.prompt_tokens is not None and answer.completion_tokens is not None:
                usd = self._cost(model, answer.prompt_tokens, answer.completion_tokens)
            self._note(key, answer.text, usd)
            self._replied.add(model)
            line = {"key": key, "reply": answer.text, "usd": usd, "model": model}
            lines.append(json.dumps(line).encode() + b"\n")
        with self._file.open("ab") as file:
            if file.tell() > self._end:
                file.write(b"\n")  # it ends a line that a kill has cut
            file.writelines(lines)
            self._end = file.tell()

    def _answers(self, model: str, requests: Sequence[Request]) -> Sequence[Answer]:
        """The judge's answers; while some are missing, it is asked for them again."""
        answers = self._ask_model(model, requests)
        for pause in PAUSES_S:
            if all(answer.finish != "error" for answer in answers):
                break
            self._sleep(pause)
            answers = self._ask_model(model, requests)  # those that were answered are kept
        return answers

    def _check_limits(self, model: str, requests: Sequence[Request]) -> None:
        calls, usd = self._own.judge_calls, self._own.judge_usd
        if calls is not None and self.calls + len(requests) > calls:
            raise self._over("judge_calls", say_count(calls, "question"))
        if usd is not None and self.usd + sum(self._most(model, one) for one in requests) > usd:
            raise self._over("judge_usd", f"{usd:g} USD")

    def _over(self, setting: str, limit: str) -> ConfigError:
        return ConfigError(
            f"the judge of the reward was asked {self.calls:,} questions for {self.usd:.2f} USD, "
            f"and the next ones would go beyond {limit}; the training has stopped.",
            where=f"{WHERE}.{setting}",
            fix=f"Raise it. {AGAIN}",
        )

    def _most(self, model: str, request: Request) -> float:
        """USD that a reply costs at most: what counts where its tokens are not told."""
        text = sum(len(turn.content) for turn in request.messages)
        return self._cost(model, text // _CHARACTERS, request.max_new_tokens)

    def _cost(self, model: str, prompt: int, completion: int) -> float:
        """USD of a reply; 0 of a model of this machine, and where no limit is kept and the price
        is not known."""
        if not is_remote(model):
            return 0.0
        name, at = split_reference(model)
        provider = provider_of(self._providers, name)
        usd = cost_usd(provider, at, prompt, completion)
        if usd is None and self._own.judge_usd is not None:
            raise ConfigError(
                f"the price of {model} is not known, so the limit of its cost cannot be kept.",
                where=f"{WHERE}.judge_usd",
                fix=f"Set it in `providers.{name}`, or set judge_usd: null.",
            )
        return usd or 0.0

    def _note(self, key: str, reply: str, usd: float) -> None:
        self._replies[key] = reply
        self.calls, self.usd = self.calls + 1, self.usd + usd

    def _read(self) -> None:
        """What was asked since the last look, by whom ever; a line that a kill has cut is none."""
        if not self._file.is_file():
            return
        with self._file.open("rb") as file:
            file.seek(self._end)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._end += len(whole)
        for line in whole.splitlines():
            try:
                one = json_reader.read(line)
                self._note(one["key"], one["reply"], float(one["usd"]))
                self._replied.add(one.get("model", ""))
            except (ValueError, KeyError, TypeError):
                continue


def _request(grader: ScoreModel | LabelModel, names: Mapping[str, Any]) -> Request:
    """What a judge is asked about an answer.

    Raises:
        VariableError: a template names what is not there.
        TooLongError: a text is too long.
    """
    turns = fill_messages(grader.input, names)
    sampling = grader.sampling_params if isinstance(grader, ScoreModel) else None
    return Request(
        tuple(Message(turn["role"], turn["content"]) for turn in turns),  # type: ignore[arg-type]
        max_new_tokens=reply_tokens(grader),
        schema=answer_schema(grader),
        temperature=(sampling and sampling.temperature) or 0.0,
        seed=(sampling and sampling.seed) or 0,
    )


def _key(grader: ScoreModel | LabelModel, request: Request) -> str:
    turns = [turn.to_dict() for turn in request.messages]
    return json_sha256([grader.model_dump(mode="json"), turns])
