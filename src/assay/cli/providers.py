"""`assay providers`: endpoints of models elsewhere, and their keys."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.cli.options import AsJson, open_served, with_json
from assay.cli.output import as_json, print_providers
from assay.errors import UsageError
from assay.quantities import say_count

if TYPE_CHECKING:
    from assay.agent.providers import Providers

app = typer.Typer(help="Manage providers of hosted models and their keys.", no_args_is_help=True)

Folder = Annotated[Path, typer.Option(help="The project's folder, or the folder that is served.")]
Name = Annotated[str, typer.Argument(help="Name of the provider: a-z, 0-9, hyphens.")]
KeyEnv = Annotated[
    str | None,
    typer.Option(help="Environment variable with the key. Default: stdin, or ask for it."),
]


@app.command()
def add(
    name: Name,
    url: Annotated[
        str | None,
        typer.Option(help="Base URL including /v1; not needed for a known provider."),
    ] = None,
    protocol: Annotated[str, typer.Option(help="openai or anthropic.")] = "openai",
    private_network: Annotated[
        list[str] | None,
        typer.Option(help="Private network that may be reached, such as 127.0.0.0/8. Repeatable."),
    ] = None,
    key_header: Annotated[
        str | None, typer.Option(help="Header that carries only the key (Azure: api-key).")
    ] = None,
    query: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE to add to the query of the URL. Repeatable."),
    ] = None,
    batch: Annotated[
        bool | None,
        typer.Option(
            help="Ask many requests in its batches: half the price, and up to a day. Unset: only "
            "those of batches of the API, where it is OpenAI or Anthropic.",
        ),
    ] = None,
    no_key: Annotated[bool, typer.Option("--no-key", help="The provider needs no key.")] = False,
    key_env: KeyEnv = None,
    folder: Folder = Path("."),
) -> None:
    """Add a provider and store its key, encrypted. The key is never passed as an argument."""
    from assay.project.settings.providers import add_provider

    settings: dict[str, Any] | None = None
    if url is not None:
        settings = {"base_url": url, "protocol": protocol}
        if private_network:
            settings["private_network"] = private_network
        if key_header:
            settings["key_header"] = key_header
        if batch is not None:
            settings["batch"] = batch
        if query:
            settings["query"] = dict(_pair(item) for item in query)
    providers = _providers(folder)
    provider = add_provider(
        providers, name, settings, None if no_key else lambda: _read_key(key_env)
    )
    print(f"{name}: {provider.base_url}" + ("" if no_key else " (key stored, encrypted)"))


@app.command("list")
@with_json(print_providers)
def list_(folder: Folder = Path(".")) -> Any:
    """List all providers and where their keys come from."""
    from assay.project.settings.providers import list_providers

    return list_providers(_providers(folder))


@app.command()
def allow(name: Name, folder: Folder = Path(".")) -> None:
    """Allow the provider's key variables and files to be sent to its current address."""
    from assay.project.settings.providers import allow_address

    origin, found = allow_address(open_served(folder), name)
    sent = ", ".join(found) or "nothing, as the provider names no variable or file"
    print(f"Allowed to be sent to {origin}: {sent}.")


@app.command()
def consent(name: Name, folder: Folder = Path(".")) -> None:
    """Agree that this project's rows and its users' requests are sent to a provider."""
    providers = _providers(folder)
    providers.agree(name)
    print(f"Rows and requests may now be sent to {name} ({providers[name].origin}).")


@app.command()
def remove(name: Name, folder: Folder = Path(".")) -> None:
    """Remove a provider's key, consent and settings from this folder's state."""
    _providers(folder).remove(name)
    print(f"Removed: {name}.")


@app.command()
def rotate(
    name: Annotated[str | None, typer.Argument(help="The provider whose key changes.")] = None,
    master: Annotated[
        bool, typer.Option("--master", help="Encrypt all keys again with a new master key.")
    ] = False,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="With --master: discard the old master key.")
    ] = False,
    key_env: KeyEnv = None,
    folder: Folder = Path("."),
) -> None:
    """Replace the key of a provider, or the master key."""
    from assay.store.secrets import rotate_master

    if (name is None) != master or (drop_old and not master):
        raise UsageError(
            "rotate needs either a provider or --master.",
            fix="Name the provider whose key changes, or give --master; --drop-old needs --master.",
        )
    providers = _providers(folder)
    if name is None:
        count = rotate_master(providers.store, providers.who, drop_old=drop_old)
        print(f"{say_count(count, 'key')} encrypted with the new master key.")
        return
    providers.rotate(name, _read_key(key_env))
    print(f"{name}: new key stored, encrypted.")


@app.command("test")
def try_(
    name: Name,
    model: Annotated[
        str, typer.Option(help="A model of the provider, by the provider's name for it.")
    ],
    folder: Folder = Path("."),
    json: AsJson = False,
) -> None:
    """Send one short request and show the answer."""
    from assay.project.settings.providers import try_model

    found = try_model(_providers(folder), name, model)
    if json:
        as_json(found)
        return
    print(f"{name} answered in {found['seconds']:.2f} s: {found['text']!r}")
    print(f"tokens: {found['prompt_tokens']} read, {found['completion_tokens']} written")


def _providers(folder: Path) -> Providers:
    return open_served(folder).providers


def _read_key(variable: str | None) -> str:
    if variable is not None:
        key = os.environ.get(variable, "")
        source = f"the variable {variable}"
    elif sys.stdin.isatty():
        key, source = typer.prompt("Key", hide_input=True), "what was typed"
    else:
        key, source = sys.stdin.readline(), "stdin"
    if not key.strip():
        raise UsageError(
            f"{source} contains no key.", fix="If the provider needs no key, use --no-key."
        )
    return key.strip()


def _pair(item: str) -> tuple[str, Any]:
    name, sign, value = item.partition("=")
    if not sign or not name:
        raise UsageError(f"--query {item!r} is not of the form NAME=VALUE.")
    return name, value
