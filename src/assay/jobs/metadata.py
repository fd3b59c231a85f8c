"""What a client writes beside an object, in OpenAI's limits."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

Key = Annotated[str, StringConstraints(max_length=64)]
Value = Annotated[str, StringConstraints(max_length=512)]
Metadata = Annotated[dict[Key, Value], Field(max_length=16, fail_fast=True)]
