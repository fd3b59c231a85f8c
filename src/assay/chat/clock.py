"""A chat template with a clock: it comes with a model, and a loop of it may have no end.

transformers renders in jinja's sandbox, which limits a `range` and not what loops within loops
take. Every turn of a loop and every call of a macro looks at the clock here; a thread that renders
cannot be ended from outside.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from assay.errors import ModelError

RENDER_S = 10.0
"""Longest that one conversation takes; a long one takes a few milliseconds."""
LONGEST = 1_000_000
"""Characters of a template."""
_TICK = "look_at_the_clock"
_deadline: ContextVar[float] = ContextVar("deadline")


@lru_cache(maxsize=32)
def clocked(text: str) -> Callable[..., str]:
    """A template, compiled as transformers does it, as a function of its variables.

    Raises:
        ModelError: it is too long; when called: it has not come to an end.
        jinja2.TemplateError: it is no template; when called: it refuses what it is given.
    """
    from jinja2 import nodes
    from transformers.utils.chat_template_utils import _compile_jinja_template

    if len(text) > LONGEST:
        raise ModelError(f"the chat template has more than {LONGEST} characters.")
    environment = _compile_jinja_template(text).environment
    tree = environment.parse(text)
    for node in tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock)):
        # No variable: a template could give its name to something else.
        look = nodes.EnvironmentAttribute(_TICK)
        tick = nodes.Output([nodes.Call(look, [], [], None, None)])
        node.body.insert(0, tick.set_lineno(node.lineno))
    setattr(environment, _TICK, _tick)
    template = environment.from_string(tree)

    def render(**given: Any) -> str:
        _deadline.set(time.monotonic() + RENDER_S)
        try:
            written: str = template.render(**given)
        except (TimeoutError, RecursionError, MemoryError):
            raise ModelError(
                f"the chat template of this model does not come to an end in {RENDER_S:g} s.",
                fix="Use another model, or mend chat_template in its folder.",
            ) from None
        return written

    return render


def _tick() -> str:
    if time.monotonic() > _deadline.get():
        raise TimeoutError
    return ""
