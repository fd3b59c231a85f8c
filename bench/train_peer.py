"""The peer's side of `bench/train.py`: TRL's trainers with PEFT, in a process of their own.

    python bench/train_peer.py < job.json

One training for each of the job's settings; prints one JSON line each, an `Outcome` or what went
wrong. TRL is given the rows as texts, rendered before the clock starts, and tokenises them itself:
so both sides train on exactly the same tokens.
"""

from __future__ import annotations

import sys

if "--unsloth" in sys.argv:  # it changes the libraries below, if it is there before them
    import unsloth

import logging
import math
import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from tempfile import TemporaryDirectory
from typing import Any

import datasets
import torch
import trl
from peft import LoraConfig
from torch import Tensor, nn
from transformers import TrainerCallback
from transformers.utils import logging as chatter

from assay.chat.template import Template
from assay.config import FineTune
from assay.models.device import best_device
from assay.models.load import LoadedModel, load
from assay.train import adapters
from assay.train.device import computing, peak_bytes
from assay.train.schedule import learning_rate
from assay.train.sequences import epoch_order
from assay.train.step import evaluate
from train_ours import Outcome, now, rendered, report, weigh_loaded
from train_works import ALPHA, RANK, Job, Row, Setting


class Clock(TrainerCallback):  # type: ignore[misc]
    """Times the steps, sets the learning rate of our schedule, ends at the limit."""

    def __init__(self, settings: FineTune, limit_s: float) -> None:
        self.settings, self.limit_s = settings, limit_s
        self.marks: list[float] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The preparation is over."""
        self.marks.append(now())

    def on_step_begin(
        self, args: Any, state: Any, control: Any, optimizer: Any, **kwargs: Any
    ) -> None:
        """The rate that our trainer has at this step."""
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(state.global_step, state.max_steps, self.settings)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A step is over when the next begins: reading the rows counts too."""
        self.marks.append(now())
        if self.marks[-1] - self.marks[0] >= self.limit_s:
            control.should_training_stop = True


def train(job: Job, setting: Setting) -> Outcome:
    """All steps of the job by one setting."""
    loaded = by_unsloth(job, setting) if setting.unsloth else by_transformers(job, setting)
    loaded_mb = weigh_loaded(loaded)
    order = [i for epoch in range(job.epochs) for i in epoch_order(len(job.rows), job.seed, epoch)]
    rows = [written(loaded, job.rows[i]) for i in order]
    settings = FineTune(
        rank=RANK,
        alpha=ALPHA,
        learning_rate=job.learning_rate,
        seed=job.seed,
        quantization=job.quantization,
    )
    start = None if setting.unsloth else start_of_ours(loaded, settings)
    clock = Clock(settings, job.limit_s)
    with TemporaryDirectory() as folder:
        arguments = trainer_arguments(loaded, rows, job, setting, folder)
        began = time.perf_counter()
        trainer = made(loaded, rows, job, setting, arguments, clock)
        if start is not None:
            adapters.set_weights(trainer.model, start)
        trainer.train()
    peak_mb = peak_bytes(loaded.model) / 1e6
    logged = [line for line in trainer.state.log_history if "num_tokens" in line]
    totals = [0, *(round(line["num_tokens"]) for line in logged)]
    return Outcome(
        what=str(setting),
        prepare_s=clock.marks[0] - began,
        step_s=[b - a for a, b in pairwise(clock.marks)],
        tokens=[b - a for a, b in pairwise(totals)],
        losses=[line["loss"] for line in logged],
        peak_mb=peak_mb,
        loaded_mb=loaded_mb,
        validation_loss=loss_of(trainer.model, loaded, job, setting),
    )


def by_transformers(job: Job, setting: Setting) -> LoadedModel:
    """The base, for TRL to put an adapter beside."""
    weights = "bfloat16" if setting.format == "bfloat16 weights" else "float32"
    where = best_device()
    return load(job.model, dtype=weights, quantization=job.quantization, device=where)


def by_unsloth(job: Job, setting: Setting) -> LoadedModel:
    """The base with Unsloth's kernels and its adapter on the same maps."""
    model, tokenizer = unsloth.FastLanguageModel.from_pretrained(
        job.model,
        max_seq_length=2048,
        dtype=torch.bfloat16,
        load_in_4bit=job.quantization == "nf4",
    )
    maps = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    model = unsloth.FastLanguageModel.get_peft_model(
        model,
        r=RANK,
        lora_alpha=ALPHA,
        lora_dropout=0,
        bias="none",
        target_modules=list(maps),
        use_gradient_checkpointing="unsloth" if setting.checkpointing else False,
        random_state=job.seed,
    )
    return LoadedModel(model, tokenizer, job.model, "", 2048, "bfloat16", job.quantization)


def written(loaded: LoadedModel, row: Row) -> dict[str, Any]:
    """A row as texts, of which TRL ends the answer with a token; or as ids."""
    if "ids" in row:
        before = len(row["ids"]) - row["trained"]
        return {"input_ids": row["ids"], "completion_mask": [0] * before + [1] * row["trained"]}
    if "messages" not in row:
        return row
    prompt = loaded.tokenizer.apply_chat_template(
        row["messages"], add_generation_prompt=True, tokenize=False
    )
    names = ("completion",) if len(row["answers"]) == 1 else ("chosen", "rejected")
    answers = [turn["content"] for turn in row["answers"]]
    return {"prompt": prompt, **dict(zip(names, answers, strict=True))}


def start_of_ours(loaded: LoadedModel, settings: FineTune) -> dict[str, Tensor]:
    """The adapter that our trainer starts from with this seed."""
    with adapters.adapt(loaded, settings) as model:
        return adapters.weights(model)


def loss_of(model: nn.Module, loaded: LoadedModel, job: Job, setting: Setting) -> float | None:
    """On the validation rows, by our evaluation and in the format of the training."""
    if not job.validation:
        return None
    units = rendered(loaded, Template.of(loaded.tokenizer), job.method, job.validation)
    with computing(model, "float32" if setting.format == "float32" else "bfloat16"):
        return evaluate(model, units)


def trainer_arguments(
    loaded: LoadedModel, rows: Sequence[dict[str, Any]], job: Job, setting: Setting, folder: str
) -> Any:
    """TRL's configuration for this setting."""
    micro, accumulation = setting.micro, job.rows_per_step // setting.micro
    own: dict[str, Any] = {"max_length": None}
    if job.method == "dpo":
        own["precompute_ref_log_probs"] = setting.reference_first
    elif "input_ids" in rows[0]:
        own["completion_only_loss"] = True
    elif setting.layout == "padding-free":
        own["padding_free"] = True
    elif setting.layout == "packed":
        length, packs = packs_of(loaded, rows, micro)
        own = {"max_length": length, "packing": True}
        steps = len(rows) / job.rows_per_step
        micro, accumulation = 1, max(1, math.ceil(packs / steps))
    kind = trl.DPOConfig if job.method == "dpo" else trl.SFTConfig
    return kind(
        output_dir=folder,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=accumulation,
        gradient_checkpointing=setting.checkpointing,
        bf16=setting.format != "float32",
        use_liger_kernel=setting.liger,
        use_cpu=best_device() == "cpu",
        num_train_epochs=1,
        learning_rate=job.learning_rate,
        lr_scheduler_type="constant",
        train_sampling_strategy="sequential",
        dataloader_pin_memory=False,
        seed=job.seed,
        logging_steps=1,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        **own,
    )


def packs_of(loaded: LoadedModel, rows: Sequence[dict[str, str]], micro: int) -> tuple[int, int]:
    """Length of a pack that has room for `micro` of the longest row, and how many are filled."""
    end = loaded.tokenizer.eos_token
    ids = [loaded.tokenizer(row["prompt"] + row["completion"] + end).input_ids for row in rows]
    length = micro * max(map(len, ids))
    packed = trl.pack_dataset(datasets.Dataset.from_dict({"input_ids": ids}), length, "bfd")
    return length, len(packed)


def made(
    loaded: LoadedModel,
    rows: Sequence[dict[str, Any]],
    job: Job,
    setting: Setting,
    arguments: Any,
    clock: Clock,
) -> Any:
    """TRL's trainer; it tokenises the rows here."""
    trainer = trl.DPOTrainer if job.method == "dpo" else trl.SFTTrainer
    return trainer(
        model=loaded.model,
        args=arguments,
        train_dataset=datasets.Dataset.from_list(list(rows)),
        processing_class=loaded.tokenizer,
        peft_config=None
        if setting.unsloth
        else LoraConfig(
            r=RANK,
            lora_alpha=ALPHA,
            target_modules="all-linear",
            bias="none",
            task_type="CAUSAL_LM",
        ),
        callbacks=[clock],
    )


def main() -> None:
    """Every setting, one after the other."""
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    chatter.set_verbosity_error()
    datasets.disable_progress_bars()
    job = Job.read()
    if len(job.settings) > 1:  # the first training pays for what is made once in a process
        train(replace(job, rows=job.rows[:1], rows_per_step=1), Setting("float32", micro=1))
    for setting in job.settings:
        try:
            report(train(job, setting))
        except Exception as error:  # one setting that cannot run must not end the sweep
            report({"what": str(setting), "error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
