"""`/v1/responses`, as in https://platform.openai.com/docs/api-reference/responses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from assay.accounts.keys import Caller
from assay.example import ToolCall
from assay.generate.stream import End, Piece
from assay.serve.auth import RequiredScope
from assay.serve.errors import of_any
from assay.serve.exchange import Exchange, converse
from assay.serve.items import call_item, new_id
from assay.serve.logprobs import token_logprobs
from assay.serve.responses_request import ResponseRequest
from assay.serve.route import JsonRoute
from assay.serve.streams import Events, format_event
from assay.serve.turns import Turn, open_turn

router = APIRouter(tags=["responses"], route_class=JsonRoute)


@router.post("/v1/responses")
async def create(
    request: Request,
    body: ResponseRequest,
    caller: Annotated[Caller, Depends(RequiredScope("chat"))],
) -> Response:
    """Answer a conversation, whole or as a stream of events."""
    turn = await open_turn(request, caller, body)
    exchange = await converse(request, caller, body, "resp_", turn.to_messages(body))
    writer = Writer(exchange, body, turn)
    if body.stream:
        return Events(_format_events(writer), exchange.close)

    async for _ in writer.events():
        pass
    return JSONResponse(writer.response())


async def _format_events(writer: Writer) -> AsyncIterator[str]:
    try:
        async for data in writer.events():
            yield format_event(data, data["type"])
    except Exception as error:
        problem = of_any(error)
        fields = {"code": problem.code, "message": problem.message, "param": problem.param}
        yield format_event({"type": "error", **fields, "sequence_number": writer.sequence}, "error")


class Writer:
    """Writes a response down, event by event; the whole response is what they add up to."""

    def __init__(self, exchange: Exchange, body: ResponseRequest, turn: Turn) -> None:
        self.exchange, self.body, self.turn = exchange, body, turn
        self.sequence = 0
        self.output: list[dict[str, Any]] = []
        self._end: End | None = None
        self._text: dict[str, Any] | None = None

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """All of them, in order."""
        for name in ("response.created", "response.in_progress"):
            yield self._event(name, response=self.response())
        async for _, item in self.exchange.items():
            if isinstance(item, Piece):
                for data in self._say(item.text, token_logprobs([item])):
                    yield data
                continue
            self._end = item
        calls = self._end.calls if self._end is not None else ()
        if self._text is None and not calls:
            for data in self._open():
                yield data
        for data in self._close():
            yield data
        for call in calls:
            for data in self._call(call):
                yield data
        await self.turn.keep(self.response())  # before its end is told: the next may come at once
        yield self._event(f"response.{self._status()}", response=self.response())

    def response(self) -> dict[str, Any]:
        """The response as far as it is written."""
        body = self.body
        conversation = self.turn.conversation
        cut = self._status() == "incomplete"
        return {
            "id": self.exchange.id,
            "object": "response",
            "created_at": self.exchange.created,
            "status": self._status(),
            "background": False,
            "conversation": {"id": conversation} if conversation is not None else None,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "metadata": body.metadata or {},
            "model": self.exchange.model,
            "output": [dict(item) for item in self.output],
            "parallel_tool_calls": body.parallel_tool_calls is not False,
            "previous_response_id": body.previous_response_id,
            "reasoning": None,
            "service_tier": "default",
            "store": self.turn.is_stored,
            "temperature": body.temperature,
            "text": {"format": self._format()},
            "tool_choice": self._choice(),
            "tools": [{"type": "function", **tool["function"]} for tool in body.offered_tools()],
            "top_logprobs": body.top_logprobs or 0,
            "top_p": body.top_p,
            "truncation": "disabled",
            "usage": self._usage() if self._end else None,
            "user": body.user,
        }

    def _say(self, text: str, logprobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if not text and not logprobs:
            return []
        opened = self._open() if self._text is None else []
        assert self._text is not None
        self._text["text"] += text
        self._text["logprobs"] += logprobs
        delta = self._event(
            "response.output_text.delta", **self._place(), delta=text, logprobs=logprobs
        )
        return [*opened, delta]

    def _open(self) -> list[dict[str, Any]]:
        self._text = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        item: dict[str, Any] = {
            "id": new_id("msg"),
            "type": "message",
            "role": "assistant",
            "status": "in_progress",
            "content": [],
        }
        self.output.append(item)
        added = self._event("response.output_item.added", output_index=0, item=dict(item))
        item["content"] = [self._text]
        part = self._event("response.content_part.added", **self._place(), part=self._copy())
        return [added, part]

    def _close(self) -> list[dict[str, Any]]:
        if self._text is None:
            return []
        item = self.output[0]
        item["status"] = self._status()
        part = self._copy()
        rest = {"text": part["text"], "logprobs": part["logprobs"]}
        return [
            self._event("response.output_text.done", **self._place(), **rest),
            self._event("response.content_part.done", **self._place(), part=part),
            self._event("response.output_item.done", output_index=0, item=dict(item)),
        ]

    def _call(self, call: ToolCall) -> list[dict[str, Any]]:
        item = call_item(call)
        index = len(self.output)
        self.output.append(item)
        place = {"item_id": item["id"], "output_index": index}
        begun = {**item, "arguments": "", "status": "in_progress"}
        kind = "response.function_call_arguments"
        return [
            self._event("response.output_item.added", output_index=index, item=begun),
            self._event(f"{kind}.delta", **place, delta=call.arguments),
            self._event(f"{kind}.done", **place, name=call.name, arguments=call.arguments),
            self._event("response.output_item.done", output_index=index, item=item),
        ]

    def _event(self, kind: str, **rest: Any) -> dict[str, Any]:
        data = {"type": kind, "sequence_number": self.sequence, **rest}
        self.sequence += 1
        return data

    def _place(self) -> dict[str, Any]:
        return {"item_id": self.output[0]["id"], "output_index": 0, "content_index": 0}

    def _copy(self) -> dict[str, Any]:
        assert self._text is not None
        return {**self._text, "logprobs": list(self._text["logprobs"])}

    def _status(self) -> str:
        if self._end is None:
            return "in_progress"
        return "incomplete" if self._end.finish == "length" else "completed"

    def _format(self) -> dict[str, Any]:
        form = self.body.text.format if self.body.text is not None else None
        return form.model_dump(by_alias=True, exclude_none=True) if form else {"type": "text"}

    def _choice(self) -> Any:
        choice = self.body.tool_choice
        return (
            "auto" if choice is None else choice if isinstance(choice, str) else choice.model_dump()
        )

    def _usage(self) -> dict[str, Any] | None:
        receipt = self.exchange.receipt
        if receipt is None or receipt.prompt_tokens is None or receipt.completion_tokens is None:
            return None
        prompt, completion = receipt.prompt_tokens, receipt.completion_tokens
        return {
            "input_tokens": prompt,
            "input_tokens_details": {
                "cached_tokens": receipt.cached_tokens,
                "cache_write_tokens": 0,
            },
            "output_tokens": completion,
            "output_tokens_details": {"reasoning_tokens": receipt.reasoning_tokens},
            "total_tokens": prompt + completion,
        }
