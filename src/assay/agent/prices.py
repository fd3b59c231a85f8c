"""What a provider's model costs: the list of `genai-prices`, or what assay.yaml says instead."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial

from assay.config import Provider, TokenPrice, split_reference

_MILLION = 1_000_000
_OWN_MACHINES = {
    *("hosted_vllm", "llama.cpp", "llama_cpp", "llamacpp", "lm_studio", "lmstudio", "localai"),
    *("ollama", "sglang", "tgi", "vllm"),
}
"""Who answers on a machine of one's own, whose price no list knows."""


class PriceList:
    """What models at providers cost, by the settings that stood when each provider was first met.

    Args:
        providers: by name; looked into once for each.
        share: of these prices that is paid, as for requests of a provider's batch.
    """

    def __init__(self, providers: Mapping[str, Provider], share: float = 1.0) -> None:
        self._providers, self._share = providers, share
        self._known: dict[str, Provider | None] = {}

    def cost_usd(
        self, model: str, prompt: int | None, completion: int | None, cached: int | None = None
    ) -> float | None:
        """USD of one answer of `remote:PROVIDER/MODEL`; None where its price is not known.

        Args: as `cost_usd` of the module.
        """
        name, at = split_reference(model)
        provider = self._provider(name)
        if provider is None:
            return None
        usd = cost_usd(provider, at, prompt, completion, cached)
        return None if usd is None else usd * self._share

    def batches(self, model: str) -> bool | None:
        """Whether the provider's settings ask for its batches in a comparison; None where it may
        have none."""
        provider = self._provider(split_reference(model)[0])
        if provider is None or not (provider.batch or provider.has_batches):
            return None
        return provider.asks_batches(can_wait=False)

    def _provider(self, name: str) -> Provider | None:
        if name not in self._known:
            self._known[name] = self._providers.get(name)
        return self._known[name]


def cost_usd(
    provider: Provider,
    model: str,
    prompt: int | None,
    completion: int | None,
    cached: int | None = None,
) -> float | None:
    """USD of one answer; None where a count or a price that matters is not known.

    Args:
        cached: of the prompt's tokens, those the provider had already; None counts none of them as
            cached, which is never too little.
    """
    if prompt is None or completion is None:
        return None
    return _sum(price_of(provider, model, prompt), prompt, completion, cached)


def listed_cost_usd(
    model: str,
    company: str | None,
    prompt: int | None,
    completion: int | None,
    cached: int | None = None,
) -> float | None:
    """USD of an answer that another program was given, by the list alone; None as of `cost_usd`.

    Args:
        company: who answered, as that program calls it; None where it does not say. One that the
            list knows has its own prices or none; for one that it does not know, such as a proxy,
            the price is that of the model's maker, unless it runs models on machines of one's own.
    """
    if prompt is None or completion is None:
        return None
    if company is None and model.startswith("ft:"):
        company = "openai"
    if company is not None and company.lower() in _OWN_MACHINES:
        return None
    known = company if company is not None and _is_listed(company) else None
    return _sum(_listed(model, _size(prompt), company=known), prompt, completion, cached)


@lru_cache(maxsize=256)
def _is_listed(company: str) -> bool:
    from genai_prices.data_snapshot import get_snapshot

    try:
        get_snapshot().find_provider(None, company, None)
    except LookupError:
        return False
    return True


def _sum(price: TokenPrice, prompt: int, completion: int, cached: int | None) -> float | None:
    known = min(cached or 0, prompt)
    parts = (
        (prompt - known, price.input),
        (known, price.input if price.cached is None else price.cached),
        (completion, price.output),
    )
    cost = 0.0
    for tokens, usd in parts:
        if tokens and usd is None:
            return None
        cost += tokens * (usd or 0.0) / _MILLION
    return cost


def price_of(provider: Provider, model: str, prompt: int = 0) -> TokenPrice:
    """USD per million tokens; some models take more for long prompts."""
    if model in provider.prices:
        return provider.prices[model]
    return _listed(model, _size(prompt), base_url=provider.base_url)


def _size(prompt: int) -> int:
    """A lookup takes a millisecond, and is remembered. Prices change at whole thousands, above
    which all of a prompt costs more."""
    return max(1, -(-prompt // 1000)) * 1000


@lru_cache(maxsize=1024)
def _listed(
    model: str, size: int, *, base_url: str | None = None, company: str | None = None
) -> TokenPrice:
    from genai_prices import Usage, calc_price

    priced = partial(calc_price, model_ref=model, provider_api_url=base_url, provider_id=company)
    try:
        fresh = priced(Usage(input_tokens=size))
        known = priced(Usage(input_tokens=size, cache_read_tokens=size))
        said = priced(Usage(input_tokens=size, output_tokens=size))
    except LookupError:
        return TokenPrice()
    each = _MILLION / size
    return TokenPrice(
        input=float(fresh.input_price) * each,
        cached=float(known.input_price) * each,
        output=float(said.output_price) * each,
    )
