"""Whose account a folder holds: address, organisation, project and key, the key as a salted hash.

Two projects have the same address. What is complete for one would not be asked for again for the
other, and the folder would be called whole.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_COST = {"n": 2**14, "r": 8, "p": 1, "dklen": 32}


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose account it is.

    Attributes:
        organization, project: as the headers name them; None: the key's own.
    """

    base_url: str
    key: str | None = field(repr=False)
    organization: str | None = None
    project: str | None = None

    def line(self) -> dict[str, Any]:
        """What a manifest keeps of it; the key cannot be read from it."""
        salt = os.urandom(16)
        return {
            "base_url": self.base_url,
            "organization": self.organization,
            "project": self.project,
            "key_salt": salt.hex(),
            "key_scrypt": self._hash(salt),
        }

    def differences(self, line: Mapping[str, Any]) -> list[str]:
        """What is another's in a manifest's line, the address aside."""
        found = []
        for name in ("organization", "project"):
            known, here = line.get(name), getattr(self, name)
            if known != here:
                found.append(f"the {name} was {known or 'not named'} and is {here or 'not named'}")
        try:
            salt = bytes.fromhex(line["key_salt"])
            is_same = hmac.compare_digest(str(line["key_scrypt"]), self._hash(salt))
        except (KeyError, TypeError, ValueError):
            is_same = False
        return found if is_same else [*found, "the key is another one"]

    def _hash(self, salt: bytes) -> str:
        return hashlib.scrypt((self.key or "").encode(), salt=salt, **_COST).hex()
