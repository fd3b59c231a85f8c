"""What candidates on a provider's model have in common: the model, its price, a schema's trial."""

from __future__ import annotations

from assay.agent.prices import price_of
from assay.agent.providers import provider_of
from assay.candidates.building import Context
from assay.config import Config, split_reference


def provider_model(context: Context) -> str:
    """`remote` of assay.yaml, without which no candidate of a provider's model is built."""
    model = context.config.remote
    assert model is not None  # PROVIDER
    return model


def tries_schema(config: Config) -> bool:
    """Whether validation is asked once more, with answers held to the schema of records."""
    return config.task == "json" and config.generate.constrained != "off"


def price_warnings(context: Context, model: str) -> tuple[str, ...]:
    """A sentence where a model's price, and so its cost, is not known."""
    name, at = split_reference(model)
    price = price_of(provider_of(context.bench.engines.providers, name), at)
    if price.input is not None and price.output is not None:
        return ()
    return (
        f"The price of {model} is not known, so its cost is not shown; set it in "
        f"providers.{name}.prices.",
    )
