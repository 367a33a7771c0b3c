"""One provider's API through the openai client: a streamed completion or a batch of vectors; errors become Trouble."""

from __future__ import annotations

import asyncio
import email.utils
import logging
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import openai
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletionMessageParam

from answermesh.llm.course import Kind, Trouble
from answermesh.llm.ledger import Usage
from answermesh.llm.provider import Message, Provider

_log = logging.getLogger(__name__)

_CONNECT_TIMEOUT_S = 5.0
# Calls that may wait for a free one of `max_concurrency`, as a multiple of it.
_WAITING_FACTOR = 16
_STATUS_KINDS = {400: Kind.UNSUITED, 413: Kind.UNSUITED, 422: Kind.UNSUITED, 429: Kind.RATE_LIMITED}
_REFUSALS = (401, 403, 404)


@dataclass(frozen=True, slots=True)
class Completion:
    """What is asked of a model."""

    messages: Sequence[Message]
    max_tokens: int
    temperature: float
    # As the API takes it; None for plain text.
    response_format: Mapping[str, Any] | None = None

    @property
    def prompt(self) -> str:
        """All text that is sent."""
        return "\n".join(message.content for message in self.messages)


class Endpoint:
    """One provider."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self._slots = asyncio.Semaphore(provider.max_concurrency)
        self._waiting = 0
        self._client = AsyncOpenAI(
            base_url=provider.base_url,
            api_key=provider.api_key,
            max_retries=0,  # `course` retries, over all providers
            # A proxy of the environment cannot reach a server on this machine.
            http_client=DefaultAsyncHttpxClient(trust_env=not provider.is_loopback),
        )

    async def stream(self, completion: Completion, usage: Usage, timeout_s: float) -> AsyncGenerator[str, None]:
        """Pieces of the text as they come; fills in `usage`.

        `timeout_s` bounds every silence. Raises Trouble; closing the iterator, or cancelling, closes the connection.
        """
        options: dict[str, Any] = {self.provider.max_tokens_field: completion.max_tokens}
        if completion.response_format is not None:
            options["response_format"] = completion.response_format
        async with self._slot():
            with _told_as_trouble(self.provider):
                answer = await self._client.chat.completions.create(
                    model=usage.candidate.model,
                    messages=_turns(completion),
                    temperature=completion.temperature,
                    stream=True,
                    stream_options={"include_usage": True},
                    timeout=_timeout(timeout_s),
                    **options,
                )
                try:
                    async for chunk in answer:
                        if text := _take(chunk, usage):
                            usage.text.append(text)
                            yield text
                finally:
                    await answer.close()
                if not usage.finish_reason:
                    raise Trouble(Kind.BROKEN)  # the stream ended before its answer did

    async def embed(self, texts: Sequence[str], dimensions: int, usage: Usage, timeout_s: float) -> list[list[float]]:
        """Vectors in the order of the texts; fills in `usage`. Raises Trouble."""
        async with self._slot():
            with _told_as_trouble(self.provider):
                answer: object = await self._client.embeddings.create(
                    model=usage.candidate.model,
                    input=list(texts),
                    dimensions=dimensions,
                    encoding_format="float",  # base64, the client's default, is not known to all servers
                    timeout=_timeout(timeout_s),
                )
                if not isinstance(answer, CreateEmbeddingResponse):
                    raise Trouble(Kind.BROKEN)
                vectors = [row.embedding for row in sorted(answer.data, key=lambda row: row.index)]
                if len(vectors) != len(texts) or any(len(vector) != dimensions for vector in vectors):
                    _log.error(
                        "%s: %s does not give vectors of %d numbers",
                        self.provider.name,
                        usage.candidate.model,
                        dimensions,
                    )
                    raise Trouble(Kind.UNSUITED)
                usage.input_tokens, usage.output_tokens = answer.usage.prompt_tokens, 0
                return vectors

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.close()

    def _slot(self) -> _Slot:
        return _Slot(self)


class _Slot:
    """One of the provider's concurrent calls; few may wait for one."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def __aenter__(self) -> None:
        endpoint = self._endpoint
        if endpoint._waiting >= _WAITING_FACTOR * endpoint.provider.max_concurrency:
            raise Trouble(Kind.RATE_LIMITED, retry_after_s=1.0)
        endpoint._waiting += 1
        try:
            await endpoint._slots.acquire()
        finally:
            endpoint._waiting -= 1

    async def __aexit__(self, *error: object) -> None:
        self._endpoint._slots.release()


def _turns(completion: Completion) -> list[ChatCompletionMessageParam]:
    # The client's type has a class for each role.
    return cast(
        "list[ChatCompletionMessageParam]", [{"role": m.role, "content": m.content} for m in completion.messages]
    )


def _timeout(timeout_s: float) -> openai.Timeout:
    return openai.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_TIMEOUT_S))


def _take(chunk: Any, usage: Usage) -> str:
    """The text of a chunk; servers leave out any part of it."""
    if told := getattr(chunk, "usage", None):
        usage.input_tokens = getattr(told, "prompt_tokens", None)
        usage.output_tokens = getattr(told, "completion_tokens", None)
    choices = getattr(chunk, "choices", None)
    if not choices:
        return ""
    usage.finish_reason = choices[0].finish_reason or usage.finish_reason
    return getattr(choices[0].delta, "content", None) or ""


@contextmanager
def _told_as_trouble(provider: Provider) -> Iterator[None]:
    try:
        yield
    except openai.APIStatusError as error:
        _log.warning("%s answered %d: %s", provider.name, error.status_code, error.message[:500])
        raise Trouble(_kind(error.status_code), _retry_after_s(error.response.headers)) from error
    except (openai.OpenAIError, ValueError, TypeError, AttributeError) as error:
        # Beyond the client's own errors: it parses leniently, and what is no answer shows as one of the last three.
        _log.warning("%s: %s: %s", provider.name, type(error).__name__, error)
        raise Trouble(Kind.BROKEN) from error


def _kind(status: int) -> Kind:
    if status in _REFUSALS:
        return Kind.REFUSED
    return _STATUS_KINDS.get(status, Kind.BROKEN)


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds, or an HTTP date, as RFC 9110 10.2.3 has it; None if it says neither."""
    value = headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        date = email.utils.parsedate_tz(value)
        return max(0.0, email.utils.mktime_tz(date) - time.time()) if date else None
