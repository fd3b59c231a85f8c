"""Code for the browser: what it works on reaches it as values.

    ui.run_javascript(expression("(id, label) => ...", element.id, label))

NiceGUI sends code as text, which the browser evaluates: a name that is formatted into it would be
code, too.
"""

from __future__ import annotations

import json
from typing import Any


def expression(function: str, *arguments: Any) -> str:
    """A call of a JavaScript function, fixed, with arguments as JSON."""
    return f"({function})({', '.join(json.dumps(one) for one in arguments)})"
