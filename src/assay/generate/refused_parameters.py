"""What is remembered of the parameters that an endpoint has refused.

A refusal counts once a request without the parameter was answered, and for a limited time: an
endpoint that errs, or is changed, is sent the parameter again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from threading import Lock
from time import monotonic
from typing import Any

from assay.generate.wire import RefusedParameter

LASTS_S = 600.0
MOST = 100
"""Refusals that are remembered; the oldest goes first."""


class RefusedParameters:
    """Those of one model of a provider. Safe to use from many threads."""

    def __init__(self) -> None:
        self._until: dict[RefusedParameter, float] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._until)

    def remember(self, confirmed: Collection[RefusedParameter]) -> None:
        """Leave these out from now on; the request without them was answered."""
        with self._lock:
            for one in confirmed:
                self._until.pop(one, None)
                self._until[one] = monotonic() + LASTS_S
                if len(self._until) > MOST:
                    del self._until[next(iter(self._until))]

    def among(self, body: Mapping[str, Any]) -> frozenset[str]:
        """Names of a request's parameters that the endpoint is known to refuse."""
        if not self._until:
            return frozenset()
        now = monotonic()
        with self._lock:
            known = [one for one, until in self._until.items() if until > now]
        return frozenset(
            one.name
            for one in known
            if one.name in body and one.value in (None, json.dumps(body[one.name]))
        )
