"""Let a model learn from a grader and talk to it, with OpenAI's own Python client.

    export OPENAI_BASE_URL=http://127.0.0.1:8000/v1
    export OPENAI_API_KEY=assay-...            # `assay serve` prints it at its first start
    python examples/openai_reinforcement.py prompts.jsonl

The file has one prompt a line, and beside it what answers are compared with:
{"messages": [{"role": "user", "content": "..."}], "reference_answer": "..."}
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob

OVER = ("succeeded", "failed", "cancelled")
ANSWER, REFERENCE = "{{sample.output_text}}", "{{item.reference_answer}}"
GRADER: Any = {
    "type": "multi",
    "name": "right, or nearly",
    "graders": {
        "right": {
            "type": "string_check",
            "name": "right",
            "operation": "eq",
            "input": ANSWER,
            "reference": REFERENCE,
        },
        "alike": {
            "type": "text_similarity",
            "name": "alike",
            "evaluation_metric": "fuzzy_match",
            "input": ANSWER,
            "reference": REFERENCE,
        },
    },
    # Points for what is nearly right: where all answers are worth the same, nothing is learned.
    "calculate_output": "0.7 * right + 0.3 * alike",
}


def main() -> None:
    """Try the grader, upload, train, follow the rewards, ask."""
    parser = argparse.ArgumentParser(description="Let a model learn from a grader.")
    parser.add_argument("file", type=Path, help="JSONL of prompts")
    parser.add_argument("--model", default="smollm2-135m-instruct", help="the base model")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=32, help="of an answer that is drawn")
    chosen = parser.parse_args()
    client = OpenAI()

    first = json.loads(chosen.file.read_text(encoding="utf-8").splitlines()[0])
    graded = client.fine_tuning.alpha.graders.run(
        grader=GRADER, item=first, model_sample=first["reference_answer"]
    )
    print(f"the answer of the first row is worth {graded.reward:g}")

    with chosen.file.open("rb") as data:
        file = client.files.create(file=data, purpose="fine-tune")
    method: Any = {
        "type": "reinforcement",
        "reinforcement": {
            "grader": GRADER,
            "hyperparameters": {"n_epochs": chosen.epochs, "eval_interval": 2},
            "max_completion_tokens": chosen.tokens,  # no field of OpenAI's; left out: 256
        },
    }
    job = client.fine_tuning.jobs.create(
        model=chosen.model, training_file=file.id, suffix="graded", seed=1, method=method
    )
    print(f"created {job.id}: {job.status}")

    job = follow(client, job.id)
    if job.status != "succeeded" or job.fine_tuned_model is None:
        raise SystemExit(f"the job has {job.status}: {job.error.message if job.error else ''}")
    for checkpoint in client.fine_tuning.jobs.checkpoints.list(job.id):
        reward = checkpoint.metrics.to_dict()["valid_reward_mean"]
        print(f"checkpoint {checkpoint.fine_tuned_model_checkpoint}: mean reward {reward:.3f}")

    answer = client.chat.completions.create(
        model=job.fine_tuned_model, messages=first["messages"], temperature=0, max_tokens=32
    )
    print(f"{job.fine_tuned_model} answered: {answer.choices[0].message.content}")


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
