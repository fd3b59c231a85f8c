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

if TYPE_CHECKING:
    from assay.agent.providers import Providers

app = typer.Typer(help="Endpoints of models elsewhere, and their keys.", no_args_is_help=True)

Folder = Annotated[Path, typer.Option(help="the project's folder, or the one that is served")]
Name = Annotated[str, typer.Argument(help="small letters, digits, hyphens")]
KeyEnv = Annotated[
    str | None, typer.Option(help="take the key from this variable; else from stdin or a prompt")
]


@app.command()
def add(
    name: Name,
    url: Annotated[
        str | None, typer.Option(help="up to and with /v1; without: the key of a known provider")
    ] = None,
    protocol: Annotated[str, typer.Option(help="openai or anthropic")] = "openai",
    private_network: Annotated[
        list[str] | None,
        typer.Option(help="a network inside that is allowed, such as 127.0.0.0/8; repeatable"),
    ] = None,
    key_header: Annotated[
        str | None, typer.Option(help="header for the key alone (Azure: api-key)")
    ] = None,
    query: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE behind the address; repeatable")
    ] = None,
    no_key: Annotated[bool, typer.Option("--no-key", help="it needs none")] = False,
    key_env: KeyEnv = None,
    folder: Folder = Path("."),
) -> None:
    """Describe an endpoint and keep its key, encrypted. The key is never an argument."""
    from assay.project.settings.providers import add_provider

    settings: dict[str, Any] | None = None
    if url is not None:
        settings = {"base_url": url, "protocol": protocol}
        if private_network:
            settings["private_network"] = private_network
        if key_header:
            settings["key_header"] = key_header
        if query:
            settings["query"] = dict(_pair(item) for item in query)
    providers = _providers(folder)
    provider = add_provider(
        providers, name, settings, None if no_key else lambda: _read_key(key_env)
    )
    print(f"{name}: {provider.base_url}" + ("" if no_key else "; its key is kept, encrypted."))


@app.command("list")
@with_json(print_providers)
def list_(folder: Folder = Path(".")) -> Any:
    """All providers, and where their keys come from."""
    from assay.project.settings.providers import list_providers

    return list_providers(_providers(folder))


@app.command()
def allow(name: Name, folder: Folder = Path(".")) -> None:
    """Let the variables and files with keys that a provider names go to its present address."""
    from assay.project.settings.providers import allow_address

    origin, found = allow_address(open_served(folder), name)
    print(f"To {origin} may go: {', '.join(found) or 'it names nothing'}.")


@app.command()
def consent(name: Name, folder: Folder = Path(".")) -> None:
    """Agree that this project's rows, and what users ask of it, go to a provider."""
    providers = _providers(folder)
    providers.agree(name)
    print(f"Rows and requests may go to {name} ({providers[name].origin}).")


@app.command()
def remove(name: Name, folder: Folder = Path(".")) -> None:
    """Forget a provider's key, its consent, and what was said of it here."""
    _providers(folder).remove(name)
    print(f"Removed: {name}.")


@app.command()
def rotate(
    name: Annotated[str | None, typer.Argument(help="the provider that has a new key")] = None,
    master: Annotated[
        bool, typer.Option("--master", help="encrypt every key anew with a new master key")
    ] = False,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="with --master: forget the old master key")
    ] = False,
    key_env: KeyEnv = None,
    folder: Folder = Path("."),
) -> None:
    """Put a new key in the place of a provider's, or change the master key."""
    from assay.store.secrets import rotate_master

    if (name is None) != master or (drop_old and not master):
        raise UsageError("name a provider, or say --master.")
    providers = _providers(folder)
    if name is None:
        count = rotate_master(providers.store, providers.who, drop_old=drop_old)
        print(f"Encrypted anew: {count} keys.")
        return
    providers.rotate(name, _read_key(key_env))
    print(f"{name}: the new key is kept, encrypted.")


@app.command("test")
def try_(
    name: Name,
    model: Annotated[str, typer.Option(help="a model of it, as the provider calls it")],
    folder: Folder = Path("."),
    json: AsJson = False,
) -> None:
    """Send one short request and say what came back."""
    from assay.project.settings.providers import try_model

    found = try_model(_providers(folder), name, model)
    if json:
        as_json(found)
        return
    print(f"{name} answers in {found['seconds']:.2f} s: {found['text']!r}")
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
        raise UsageError(f"{source} holds no key.", fix="--no-key, if it needs none.")
    return key.strip()


def _pair(item: str) -> tuple[str, Any]:
    name, sign, value = item.partition("=")
    if not sign or not name:
        raise UsageError(f"--query {item!r} is not NAME=VALUE.")
    return name, value
