"""Providers that need no more than their name: where they are, and which variable has the key."""

from __future__ import annotations

from typing import Any

KNOWN_PROVIDERS: dict[str, dict[str, Any]] = {
    "openai": {"base_url": "https://api.openai.com/v1", "key_env": "OPENAI_API_KEY"},
    "anthropic": {
        "base_url": "https://api.anthropic.com/v1",
        "protocol": "anthropic",
        "key_env": "ANTHROPIC_API_KEY",
    },
    "openrouter": {"base_url": "https://openrouter.ai/api/v1", "key_env": "OPENROUTER_API_KEY"},
    "mistral": {"base_url": "https://api.mistral.ai/v1", "key_env": "MISTRAL_API_KEY"},
    "groq": {"base_url": "https://api.groq.com/openai/v1", "key_env": "GROQ_API_KEY"},
}
"""Settings of `providers` in assay.yaml, by name."""
