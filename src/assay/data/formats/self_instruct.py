"""`self-instruct`: an instruction with a list of `instances`, each of which is an example.

Wang et al. 2023, Self-Instruct, ACL.
"""

from __future__ import annotations

from assay.data.formats import alpaca
from assay.data.formats.record import Record, RecordProblems, Shape, identity, shorten
from assay.example import Example


def matches(record: Record) -> bool:
    """An instruction and a list of instances."""
    return "instruction" in record and isinstance(record.get("instances"), list)


def parts(record: Record) -> list[Record]:
    """One record per instance: the task's own fields beside the instance's."""
    instances = record.get("instances")
    if not isinstance(instances, list) or not instances:
        return [record]
    shared = {key: value for key, value in record.items() if key != "instances"}
    if len(instances) == 1:
        return [_part(shared, instances[0])]
    id = identity(record, "")
    return [
        _part({**shared, "id": f"{id}/{number}"} if id else shared, instance)
        for number, instance in enumerate(instances, start=1)
    ]


def _part(shared: Record, instance: object) -> Record:
    if isinstance(instance, dict):
        return {**shared, **instance}
    return {**shared, "instances": [instance]}


def example(record: Record, default_id: str, found: RecordProblems) -> Example | None:
    """The example of one instance."""
    if "instances" in record:
        listed = record["instances"]
        found.add(
            "no-messages" if listed == [] else "wrong-type",
            "the list of instances is empty."
            if listed == []
            else f"the instance is {shorten(listed)}, not an object with input and output.",
            'Write "instances": [{"input": ..., "output": ...}].',
            "instances",
        )
        return None
    return alpaca.example(record, default_id, found)


SHAPE = Shape("self-instruct", "instruction, instances", matches, example, parts)
