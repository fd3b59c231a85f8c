"""Fine-tune a model and talk to it, with OpenAI's own Python client.

    export OPENAI_BASE_URL=http://127.0.0.1:8000/v1
    export OPENAI_API_KEY=assay-...            # `assay serve` prints it at its first start
    python examples/openai_drop_in.py tickets.jsonl

The file has one conversation a line, as OpenAI's guide to supervised fine-tuning describes it:
{"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}
"""

import argparse
import csv
import io
import json
import time
from pathlib import Path

from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob

OVER = ("succeeded", "failed", "cancelled")


def main() -> None:
    """Upload, train, follow, look at what came of it, ask."""
    parser = argparse.ArgumentParser(description="Fine-tune a model and talk to it.")
    parser.add_argument("file", type=Path, help="JSONL of conversations")
    parser.add_argument("--model", default="smollm2-135m-instruct", help="the base model")
    parser.add_argument("--suffix", default="drop-in", help="a part of the new model's name")
    parser.add_argument("--epochs", type=int, default=2)
    chosen = parser.parse_args()
    client = OpenAI()

    with chosen.file.open("rb") as data:
        file = client.files.create(file=data, purpose="fine-tune")
    print(f"uploaded {file.filename}: {file.id}, {file.bytes} bytes")

    job = client.fine_tuning.jobs.create(
        model=chosen.model,
        training_file=file.id,
        suffix=chosen.suffix,
        seed=1,
        method={
            "type": "supervised",
            "supervised": {"hyperparameters": {"n_epochs": chosen.epochs}},
        },
        metadata={"from": "examples/openai_drop_in.py"},
    )
    print(f"created {job.id}: {job.status}")

    job = follow(client, job.id)
    if job.status != "succeeded" or job.fine_tuned_model is None:
        raise SystemExit(f"the job has {job.status}: {job.error.message if job.error else ''}")
    print(f"{job.fine_tuned_model} after {job.trained_tokens} tokens")

    for checkpoint in client.fine_tuning.jobs.checkpoints.list(job.id):
        print(
            f"checkpoint {checkpoint.fine_tuned_model_checkpoint}: "
            f"full_valid_loss {checkpoint.metrics.full_valid_loss:.3f}, "
            f"accuracy {checkpoint.metrics.full_valid_mean_token_accuracy:.2f}"
        )

    table = client.files.content(job.result_files[0]).text
    steps = list(csv.DictReader(io.StringIO(table)))
    print(f"train_loss {steps[0]['train_loss']} -> {steps[-1]['train_loss']} in {len(steps)} steps")

    first = json.loads(chosen.file.read_text(encoding="utf-8").splitlines()[0])
    answer = client.chat.completions.create(
        model=job.fine_tuned_model, messages=first["messages"][:-1], temperature=0, max_tokens=32
    )
    print(f"asked: {first['messages'][-2]['content']}")
    print(f"answered: {answer.choices[0].message.content}")


def follow(client: OpenAI, id: str) -> FineTuningJob:
    """Print a job's events as they come until it is over; returns the job."""
    seen: set[str] = set()
    while True:
        job = client.fine_tuning.jobs.retrieve(id)
        events = list(client.fine_tuning.jobs.list_events(id, limit=100))  # the newest first
        for event in reversed(events):
            if event.id not in seen:
                seen.add(event.id)
                print(f"  {event.message}")
        if job.status in OVER:
            return job
        time.sleep(1)


if __name__ == "__main__":
    main()
