"""Answers from a vLLM server: for a machine with a GPU.

    VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve Qwen/Qwen3-0.6B --enable-lora

    engines = VllmServing(state_folder, Vllm(base_url="http://127.0.0.1:8001/v1"))
    engines.engine("version:3f9a01").chat(messages, (), Sampling())

Somebody else starts the server (a systemd unit, say); it holds one base. Tuned versions of it are
put beside the base while it runs, when they are first asked for. Prompts are rendered here, by
`assay.chat`, and go there as token ids; the server's own chat template is never asked.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import BoundedSemaphore, Event, Lock, Thread
from typing import Any

import httpx

from assay.chat.template import Template
from assay.config import Vllm
from assay.errors import ModelError
from assay.example import Message
from assay.generate.first_space import WithoutFirstSpace, drops_first_space
from assay.generate.gguf_files import Base, base_of, template_of
from assay.generate.guidance import enforced
from assay.generate.outbound import read_key
from assay.generate.prompts import chat_ids, text_ids
from assay.generate.serving import (
    BusyError,
    End,
    Piece,
    PromptTooLongError,
    RequestRefusedError,
    Sampling,
    scored,
)
from assay.generate.vllm_request import Names, body_of, end_of, events, pieces_of, reason
from assay.generate.vllm_transport import GuardedTransport
from assay.models.versions import load_version

_WHERE = "assay.yaml, vllm"
_RETRY_S = 5.0
"""When to ask again, where the server does not say."""


@dataclass(frozen=True, slots=True)
class _Listed:
    """A line of the server's `/v1/models`: a base that it holds, or an adapter beside it."""

    id: str
    root: str
    context: int | None


class VllmServing:
    """See `ServingEngines`.

    Args:
        state: the project's state folder, which the server must see under the same path; None:
            base models only.
        settings: where the server is.
    """

    def __init__(self, state: Path | None, settings: Vllm) -> None:
        self._state = state
        self._server = VllmServer(settings)
        self._engines: dict[str, VllmEngine] = {}
        self._bases: dict[str, Base] = {}
        self._lock = Lock()

    def engine(self, model: str) -> VllmEngine:
        """The engine of a model reference or of `version:ID`.

        Raises:
            ModelError: the server cannot be reached, or holds neither the model nor its base.
        """
        with self._lock:
            if (known := self._engines.get(model)) is not None:
                return known
        scheme, _, id = model.partition(":")
        made = self._of_version(id) if scheme == "version" else self._of_base(model)
        with self._lock:
            return self._engines.setdefault(model, made)

    def close(self) -> None:
        """Close the connections; streams under way end with an error."""
        self._server.close()

    def _of_base(self, ref: str) -> VllmEngine:
        base = self._base(ref)
        listed = self._holding(base)
        return VllmEngine(self._server, listed.id, base.template, base.tokenizer, _context(listed))

    def _of_version(self, id: str) -> VllmEngine:
        if self._state is None:
            raise ModelError("there are no versions here.", fix="Open a project.")
        version = load_version(self._state, id)
        base = self._base(version.record.base)
        template = template_of(version, base)
        # As `assay export --to vllm` names it, whether as an adapter or merged.
        exported = f"assay-{version.id[:12]}"
        found = next((line for line in self._server.models() if line.id == exported), None)
        if found is not None:
            context = found.context or _context(self._holding(base))
            return VllmEngine(self._server, exported, template, base.tokenizer, context)
        if version.whole:
            raise ModelError(
                "all weights of this version were trained, and the vLLM server does not hold them.",
                where=version.id,
                fix=f"`assay export {version.id[:12]} --to vllm`, and start what it has written.",
            )
        listed, name = self._holding(base), f"assay-{version.id}"
        folder = version.folder.resolve()

        def load() -> None:
            self._server.load_adapter(name, folder)

        load()
        return VllmEngine(
            self._server, name, template, base.tokenizer, _context(listed), again=load
        )

    def _base(self, ref: str) -> Base:
        with self._lock:
            found = self._bases.get(ref)
        if found is None:
            found = base_of(ref)
            with self._lock:
                self._bases[ref] = found
        return found

    def _holding(self, base: Base) -> _Listed:
        """The server's line for a base, which it may have been given as a name or as a folder.

        Raises:
            ModelError: it holds something else.
        """
        lines = self._server.models()
        own = {base.ref, str(base.folder), str(base.folder.resolve())}
        for line in lines:
            if {line.id, line.root} & own:
                return line
        raise ModelError(
            f"the vLLM server does not hold {base.ref}, but "
            f"{', '.join(line.root for line in lines) or 'nothing'}.",
            where=self._server.url,
            fix=f"Start it with `vllm serve {base.folder} --enable-lora`.",
        )


class VllmServer:
    """One server over HTTP: what it holds, adapters put beside it, completions asked of it."""

    def __init__(self, settings: Vllm) -> None:
        provider = settings.provider()
        self.url = provider.base_url
        self._settings = settings
        self.places = BoundedSemaphore(settings.at_once)
        self.at_once = settings.at_once
        key = read_key("vllm", provider, where=_WHERE)
        self._client = httpx.Client(
            transport=GuardedTransport(_WHERE, settings.at_once + 1),
            timeout=settings.timeout_s,
            follow_redirects=False,
            trust_env=False,
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
        )
        self._abandoned: SimpleQueue[tuple[httpx.Response | None] | None] = SimpleQueue()
        Thread(target=self._tidy, name="assay-vllm", daemon=True).start()

    def models(self) -> list[_Listed]:
        """What the server holds."""
        reply = self._sent(self._client.build_request("GET", f"{self.url}/models"))
        try:
            return [
                _Listed(
                    str(line["id"]),
                    str(line.get("root") or line["id"]),
                    line.get("max_model_len"),
                )
                for line in reply.json()["data"]
            ]
        except (ValueError, KeyError, TypeError):
            raise ModelError("this is no vLLM server.", where=self.url) from None

    def load_adapter(self, name: str, folder: Path) -> None:
        """Put an adapter beside the base; that it is there already is as good.

        Raises:
            ModelError: the server does not take it.
        """
        body = {"lora_name": name, "lora_path": str(folder)}
        request = self._client.build_request("POST", f"{self.url}/load_lora_adapter", json=body)
        reply = self._sent(request, refusals=(400, 404, 405, 422, 500))
        if reply.status_code == 200 or "already been loaded" in reply.text:
            return
        if reply.status_code in (404, 405) and name not in reply.text:
            raise ModelError(
                "the vLLM server takes no adapters while it runs.",
                where=self.url,
                fix="Start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True.",
            )
        raise ModelError(
            f"the vLLM server cannot load this adapter: {reason(reply.text)}",
            where=str(folder),
            fix="It must see the folder under this path, and have a --max-lora-rank that is large "
            "enough; or export the version (`assay export ID --to merged`) and serve that.",
        )

    def complete(self, body: dict[str, Any]) -> httpx.Response:
        """Begin a completion; the reply is open, whatever its status."""
        request = self._client.build_request("POST", f"{self.url}/completions", json=body)
        return self._sent(request, stream=True, refusals=range(400, 600))

    def abandon(self, reply: httpx.Response | None) -> None:
        """Close a reply that nobody reads any more, and free its place, in another thread."""
        self._abandoned.put((reply,))

    def close(self) -> None:
        """Close the connections."""
        self._abandoned.put(None)
        self._client.close()

    def _tidy(self) -> None:
        while (left := self._abandoned.get()) is not None:
            (reply,) = left
            with suppress(httpx.HTTPError):  # the next one must be closed all the same
                if reply is not None:
                    reply.close()
            self.places.release()

    def _sent(
        self, request: httpx.Request, *, stream: bool = False, refusals: Sequence[int] = ()
    ) -> httpx.Response:
        try:
            reply = self._client.send(request, stream=stream)
        except (httpx.HTTPError, RuntimeError) as error:  # RuntimeError: it was closed
            raise ModelError(
                f"the vLLM server cannot be reached ({error}).",
                where=self.url,
                fix="Start it, or name another in assay.yaml, vllm.",
            ) from None
        if reply.status_code != 200 and reply.status_code not in refusals:
            raise ModelError(
                f"the vLLM server refuses the request (HTTP {reply.status_code}).", where=self.url
            )
        return reply


class VllmEngine:
    """One model of a server; see `ServingEngine`.

    Args:
        name: as the server knows it.
        context_length: tokens that prompt and answer may have together.
        again: puts it beside the base once more, where the server has forgotten it.
    """

    def __init__(
        self,
        server: VllmServer,
        name: str,
        template: Template,
        tokenizer: Any,
        context_length: int,
        again: Callable[[], None] | None = None,
    ) -> None:
        self.template, self.context_length = template, context_length
        self.server, self.name, self.again = server, name, again
        self.names = Names(tokenizer, template.stop_ids)
        self._tokenizer = tokenizer
        self._drops_space = drops_first_space(tokenizer)

    def chat(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], sampling: Sampling
    ) -> Iterator[Piece | End]:
        """Continue a conversation, rendered by the model's chat template.

        Raises:
            DataError: the template refuses these messages or has no place for the tools.
        """
        stream = Stream(
            self,
            chat_ids(self.template, messages, tools, self.context_length, sampling.owner),
            sampling,
        )
        spelled = WithoutFirstSpace(stream) if self._drops_space else stream
        return enforced(spelled, sampling)

    def complete(self, prompt: str | Sequence[int], sampling: Sampling) -> Iterator[Piece | End]:
        """Continue a text or token ids as they are."""
        ids = text_ids(self._tokenizer, prompt, self.context_length)
        return enforced(Stream(self, ids, sampling), sampling)


class Stream(Iterator[Piece | End]):
    """One answer. `close` may be called from any thread; vLLM gives up what nobody reads."""

    def __init__(self, engine: VllmEngine, ids: Sequence[int], sampling: Sampling) -> None:
        self._engine, self._ids, self._sampling = engine, list(ids), sampling
        self._turn, self._closed = Lock(), Event()
        self._reply: httpx.Response | None = None
        self._parts: Iterator[Piece | End] | None = None
        self._placed = False

    def __next__(self) -> Piece | End:
        with self._turn:
            try:
                if self._parts is None and not self._closed.is_set():
                    self._parts = scored(self._answer(self._begin()), self._sampling)
                if self._parts is None or self._closed.is_set():  # while it began, perhaps
                    raise StopIteration
                part = next(self._parts)
            except BaseException as error:
                self._leave()
                if self._closed.is_set():  # the connection was cut for that
                    raise StopIteration from None
                if isinstance(error, httpx.TimeoutException):
                    raise ModelError("the vLLM server has fallen silent.") from None
                if isinstance(error, httpx.HTTPError | httpx.StreamError):
                    raise ModelError(f"the vLLM server's answer was cut ({error}).") from None
                raise
            if isinstance(part, End) or self._closed.is_set():
                self._leave()
            return part

    def close(self) -> None:
        """End it; nothing happens when it has ended."""
        self._closed.set()
        if self._turn.acquire(blocking=False):
            try:
                self._leave()
            finally:
                self._turn.release()
        elif (reply := self._reply) is not None:  # another thread waits for the next token: wake it
            connection = reply.extensions["network_stream"].get_extra_info("socket")
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __del__(self) -> None:
        # Not here: a collector may come by while this very thread holds a lock of the client's.
        with suppress(AttributeError):
            if self._placed:
                self._engine.server.abandon(self._reply)

    def _leave(self) -> None:
        reply, self._reply = self._reply, None
        if reply is not None:
            reply.close()
        if self._placed:
            self._placed = False
            self._engine.server.places.release()

    def _begin(self) -> httpx.Response:
        engine = self._engine
        room = engine.context_length - len(self._ids)
        if not self._ids:
            raise ModelError("the prompt is empty.", fix="Give at least one token.")
        if room <= 0:
            raise PromptTooLongError(
                f"the prompt has {len(self._ids)} tokens; prompt and answer may have "
                f"{engine.context_length} together.",
                fix="Shorten the prompt.",
            )
        stops = engine.template.stop_ids
        body = body_of(engine.name, self._ids, self._sampling, room, stops)
        if not engine.server.places.acquire(blocking=False):
            raise BusyError(
                f"{engine.server.at_once} requests are at the vLLM server already.", _RETRY_S
            )
        self._placed = True
        reply = self._reply = engine.server.complete(body)
        if reply.status_code == 404 and engine.again is not None:  # it was started again
            reply.close()
            engine.again()
            reply = self._reply = engine.server.complete(body)
        if reply.status_code != 200:
            raise _refusal(reply)
        return reply

    def _answer(self, reply: httpx.Response) -> Iterator[Piece | End]:
        finish: str | None = None
        usage: dict[str, Any] = {}
        for event in events(reply.iter_lines()):
            usage = event.get("usage") or usage
            for choice in event["choices"]:
                finish = choice.get("finish_reason") or finish
                yield from pieces_of(choice, self._sampling.told, self._engine.names)
        yield end_of(finish, usage)


def _refusal(reply: httpx.Response) -> ModelError:
    said = reason(reply.read().decode("utf-8", "replace"))
    if reply.status_code in (429, 503):
        wait = reply.headers.get("retry-after", "")
        return BusyError(f"vLLM says: {said}", float(wait) if wait.isdecimal() else _RETRY_S)
    if reply.status_code == 400 and "context length" in said:
        return PromptTooLongError(f"vLLM says: {said}")
    kind = RequestRefusedError if reply.status_code in (400, 422) else ModelError
    return kind(f"vLLM refuses the request (HTTP {reply.status_code}): {said}")


def _context(line: _Listed) -> int:
    if line.context is None:
        raise ModelError("the vLLM server does not tell how long its context is.", where=line.id)
    return line.context
