"""Endpoints of models elsewhere, and a vLLM server of one's own."""

from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from assay.config.names import (
    FileName,
    FilledText,
    Naming,
    SecretFileName,
    SecretVariable,
    file_of,
)
from assay.config.strict import Strict
from assay.errors import ConfigError

MOST_PRICE_USD = 1_000_000
"""Of an hour, or of a million tokens: far from what anybody pays. It keeps a slip of the finger,
and costs that are no numbers any more, out of a verdict."""


class TokenPrice(Strict):
    """What a provider takes for a model's tokens, USD per million; null is unknown, never 0."""

    input: float | None = Field(
        None, ge=0, le=MOST_PRICE_USD, description="Price of prompt tokens."
    )
    cached: float | None = Field(
        None,
        ge=0,
        le=MOST_PRICE_USD,
        description="Price of cached prompt tokens; null: the same as input.",
    )
    output: float | None = Field(
        None, ge=0, le=MOST_PRICE_USD, description="Price of answer tokens, including reasoning."
    )


class Provider(Strict):
    """An endpoint elsewhere; its models are `remote:NAME/MODEL` (docs/providers.md)."""

    base_url: str = Field(
        max_length=2000, description="URL including /v1, such as https://api.openai.com/v1."
    )
    protocol: Literal["openai", "anthropic"] = Field(
        "openai", description="OpenAI's chat completions or Anthropic's messages."
    )
    key_env: SecretVariable | None = Field(None, description="Environment variable with the key.")
    key_file: SecretFileName | None = Field(
        None,
        description="File with nothing but the key. Without both, use `assay providers add`.",
    )
    key_header: str | None = Field(
        None,
        description="Header that carries only the key (Azure: api-key); null: the protocol's own.",
    )
    limit: Literal["max_tokens", "max_completion_tokens"] | None = Field(
        None,
        description="Parameter for the maximum number of answer tokens; null: "
        "max_completion_tokens at api.openai.com, max_tokens elsewhere.",
    )
    leave_out: list[Literal["stream_options", "logprobs", "seed", "temperature"]] = Field(
        default_factory=list,
        description="Parameters to leave out because the provider rejects them.",
    )
    query: dict[str, str] = Field(
        default_factory=dict,
        description="Query parameters of the URL, such as Azure's api-version.",
    )
    headers: dict[str, FilledText] = Field(
        default_factory=dict,
        description="Additional headers; ${NAME} stands for an environment variable.",
    )
    consent: bool = Field(
        False, description="Whether this project's rows and its users' requests may be sent there."
    )
    private_network: bool | list[str] = Field(
        False,
        description="Private networks that may be reached (10.2.0.0/16), also over plain http; "
        "true: all loopback and private addresses.",
    )
    ca_file: FileName | None = Field(
        None, description="File of additional trusted certificates (PEM)."
    )
    client_cert: FileName | None = Field(None, description="Client certificate for mTLS (PEM).")
    client_key: SecretFileName | None = Field(
        None, description="Private key of the client certificate (PEM)."
    )
    proxy: FilledText | None = Field(
        None, description="Proxy, as http://host:port; ${NAME} stands for an environment variable."
    )
    concurrency: int = Field(
        4, ge=1, le=64, description="Number of concurrent requests in a comparison."
    )
    batch: bool | None = Field(
        None,
        description="Whether the provider's batches are asked, at half the price and within a day: "
        "true: by batches of the API, and by comparisons and runs of evals of more than 64 "
        "requests at once; null: by batches of the API alone, at OpenAI's and Anthropic's own "
        "addresses; false: never.",
    )
    timeout_s: float = Field(
        60.0, gt=0, description="Timeout for one answer, or for the first token of a stream."
    )
    stall_s: float = Field(30.0, gt=0, description="Timeout between two tokens of a stream.")
    stream_s: float = Field(1800.0, gt=0, description="Timeout for a whole stream.")
    retries: int = Field(
        3,
        ge=0,
        le=10,
        description="Number of retries after an outage, a 429 or an answer that is cut off.",
    )
    prices: dict[str, TokenPrice] = Field(
        default_factory=dict, description="Prices by model, in place of the built-in price list."
    )

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("use an address such as https://api.openai.com/v1")
        try:
            _ = parts.port
        except ValueError:
            raise ValueError("its port is not a number from 1 to 65535") from None
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                "leave out user, password, ? and #; the key is stored with `assay providers add`"
            )
        if not value.isascii() or not value.isprintable() or set(value) & set(" \\"):
            raise ValueError("use printable ASCII characters without spaces or backslashes")
        return value.rstrip("/")

    @field_validator("private_network")
    @classmethod
    def _are_networks(cls, value: bool | list[str]) -> bool | list[str]:
        for network in value if isinstance(value, list) else ():
            try:
                ip_network(network)
            except ValueError as error:
                raise ValueError(f"{error}; use a network such as 10.2.0.0/16") from None
        return value

    @field_validator("key_header")
    @classmethod
    def _is_a_free_header(cls, value: str | None) -> str | None:
        if value is not None and (not _TOKEN.fullmatch(value) or value.lower() in _OURS):
            raise ValueError(f"{value!r} cannot carry a key")
        return value

    @field_validator("headers")
    @classmethod
    def _are_free_headers(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not _TOKEN.fullmatch(name) or name.lower() in _OURS | _KEYS:
                raise ValueError(f"{name!r} cannot be set")
            if not text.isascii() or not text.isprintable():
                raise ValueError(f"{name} has characters that are not allowed in a header")
        return value

    @field_validator("proxy")
    @classmethod
    def _is_a_proxy(cls, value: str | None) -> str | None:
        if value is None or "${" in value:
            return value
        parts = urlsplit(value)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError("use an address such as http://proxy.example.com:3128")
        if parts.username or parts.password:
            raise ValueError("an address with a password belongs in a variable: ${PROXY}")
        return value

    @model_validator(mode="after")
    def _is_safe(self) -> Provider:
        if self.base_url.startswith("http:"):
            if not self.private_network:
                raise ValueError("https is required unless private_network allows the address")
            if self.proxy:
                raise ValueError("a proxy can only be used with https")
        if self.key_env and self.key_file:
            raise ValueError("use key_env or key_file, not both")
        if self.key_header and self.key_header.lower() in map(str.lower, self.headers):
            raise ValueError("key_header is among the headers already")
        if self.client_key and not self.client_cert:
            raise ValueError("client_key needs client_cert")
        return self

    def located(self, root: Path) -> Provider:
        """The same, with its files named by where they are.

        Args:
            root: the folder of the project whose provider it is.
        """
        named = ("key_file", "ca_file", "client_cert", "client_key")
        files = {name: getattr(self, name) for name in named}
        found = {name: str(file_of(file, root)) for name, file in files.items() if file}
        return self.model_copy(update=found) if found else self

    @property
    def limit_name(self) -> str:
        """What it calls the most tokens of an answer, in OpenAI's protocol."""
        openai = urlsplit(self.base_url).hostname == "api.openai.com"
        return self.limit or ("max_completion_tokens" if openai else "max_tokens")

    @property
    def has_batches(self) -> bool:
        """Whether it is known to answer batches; of others nothing is known."""
        host = urlsplit(self.base_url).hostname
        return (host, self.protocol) in (
            ("api.openai.com", "openai"),
            ("api.anthropic.com", "anthropic"),  # its OpenAI-compatible address has none
        )

    def asks_batches(self, *, can_wait: bool) -> bool:
        """Whether many requests go to its batches.

        Args:
            can_wait: whoever asks has agreed to wait for up to a day, as by a batch of the API.
        """
        return can_wait and self.has_batches if self.batch is None else self.batch

    @property
    def origin(self) -> str:
        """Scheme, host and port, spelled in one way: what a key and a consent are good for."""
        parts = urlsplit(self.base_url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = str(parts.hostname).rstrip(".")
        return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}"


_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_OURS = frozenset(
    [
        "accept",
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "range",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)
"""Headers that the configuration may not set: they say who is spoken to, how, and how much."""
_KEYS = frozenset(["authorization", "x-api-key", "api-key"])
"""Headers that carry a key, which `key_header` may name."""


class Vllm(Strict):
    """A running vLLM server that answers when this project is measured and when it serves."""

    base_url: str = Field(description="URL including /v1, such as http://127.0.0.1:8001/v1.")
    key_env: SecretVariable | None = Field(
        None, description="Environment variable with the server's --api-key."
    )
    at_once: int = Field(
        256,
        ge=1,
        le=4096,
        description="Maximum number of concurrent requests: a comparison sends so many at once; "
        "when serving, further ones are told to retry later.",
    )
    consent: bool = Field(
        False,
        description="Whether a server on another machine may be sent what is measured: inputs of "
        "validation and holdout, with the training rows and passages of documents that a candidate "
        "puts into them; never expected answers of the holdout.",
    )
    timeout_s: float = Field(120.0, gt=0, description="Timeout between two pieces of an answer.")

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        try:
            return Provider(base_url=value, private_network=True).base_url
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None

    def provider(self) -> Provider:
        """The same as any endpoint is described; loopback and private addresses are allowed."""
        return Provider(base_url=self.base_url, key_env=self.key_env, private_network=True)


REMOTE = "remote:"
"""What a reference to a provider's model begins with."""
_REMOTE_MODEL = re.compile(r"^remote:[a-z0-9][a-z0-9-]{0,62}/.+$")


def _check_remote(value: Any) -> Any:
    if isinstance(value, str) and not _REMOTE_MODEL.match(value):
        raise ValueError("it should be of the form remote:PROVIDER/MODEL")
    return value


RemoteModel = Annotated[
    str,
    Naming("model"),
    Field(pattern=_REMOTE_MODEL.pattern),
    BeforeValidator(_check_remote),
]
"""`remote:PROVIDER/MODEL`."""


def is_remote(model: str) -> bool:
    """Whether a model reference names a provider's model."""
    return model.startswith(REMOTE)


def split_reference(model: str) -> tuple[str, str]:
    """Provider and model of `remote:PROVIDER/MODEL`.

    Raises:
        ConfigError: it is not of this form.
    """
    provider, _, name = model.removeprefix(REMOTE).partition("/")
    if not provider or not name:
        raise ConfigError(
            f"{model!r} does not name a model of a provider.", fix="Write remote:PROVIDER/MODEL."
        )
    return provider, name
