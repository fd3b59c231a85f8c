"""What an answer must look like, spelled for servers that constrain it with llguidance themselves.

llama.cpp and vLLM take this text and follow it by the same library as the engine of evaluation.
"""

from __future__ import annotations

import json

from assay.generate.constrained import JSON_DUMPS, choices_grammar, schema_grammar
from assay.generate.serving import Sampling


def guidance(sampling: Sampling) -> str | None:
    """The grammar of an answer, in llguidance's own form; None where any text will do.

    Raises:
        ConfigError: a schema or choices that cannot be enforced.
    """
    if sampling.choices is not None:
        choices_grammar(sampling.choices)  # refuses what cannot be followed
        spelled = " | ".join(
            json.dumps(c, ensure_ascii=False) for c in dict.fromkeys(sampling.choices)
        )
        return f"%llguidance {{}}\nstart: {spelled}"
    schema = sampling.form
    if schema is None:
        return None
    schema_grammar(json.dumps(schema))
    item, key = JSON_DUMPS
    spelling = {"item_separator": item, "key_separator": key, "whitespace_flexible": False}
    return "%llguidance {}\nstart: %json " + json.dumps(
        {**schema, "x-guidance": spelling}, ensure_ascii=False
    )
