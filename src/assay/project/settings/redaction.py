"""What somebody who may only look sees of assay.yaml: no value that could be a key.

Keys belong into variables, files or the store, but headers and queries of providers can be written
out, and so can the password of a proxy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from assay.config.names import VARIABLE
from assay.config.yaml_text import tree_of

HIDDEN = "***"
_ACCOUNT = re.compile(r"//([^/@\s]+)@")


def without_secrets(text: str) -> str:
    """The text with `HIDDEN` for values of providers' headers and queries that name no variable.

    Wherever they stand, comments included. Of a text that cannot be read nothing is shown that
    comes after `providers`.
    """
    tree, _ = tree_of(text, None)
    if not isinstance(tree, Mapping):
        return text.partition("providers")[0]
    for value in sorted(set(_literals(tree.get("providers"))), key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    return text


def _literals(providers: Any) -> Iterator[str]:
    for provider in providers.values() if isinstance(providers, Mapping) else ():
        if not isinstance(provider, Mapping):
            continue
        for section in ("headers", "query"):
            values = provider.get(section)
            for name, value in values.items() if isinstance(values, Mapping) else ():
                plain = str(value)
                version = str(name).lower().endswith("version")
                if plain and not version and not VARIABLE.fullmatch(plain):
                    yield plain
        yield from _ACCOUNT.findall(str(provider.get("proxy") or ""))
