"""One member of the pool: a key or project of Gemini's, through google-genai. Each call is one billed attempt."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass

import aiohttp
from google import genai
from google.genai import errors, types

from services.gemini_proxy.config import MemberSettings
from services.gemini_proxy.contents import ATTEMPT_LABEL, CachedPrefix, config_of, contents_of
from services.gemini_proxy.embedding_question import EmbeddingQuestion
from services.gemini_proxy.failures import AttemptFailed, Kind
from services.gemini_proxy.provider_errors import to_failure, without_key
from services.gemini_proxy.question import File, Question, Text
from services.gemini_proxy.transport import open_session
from services.gemini_proxy.usage import Modality, TokenUsage

_MODALITIES = {types.MediaModality(modality.value): modality for modality in Modality}
_COUNT_TIMEOUT_MS = 10_000


@dataclass(frozen=True)
class Chunk:
    """A piece of an answer; what it lacks is empty or None."""

    text: str = ""
    usage: TokenUsage | None = None
    """What the attempt has used so far, in all."""
    model: str = ""
    """The model that really answers."""
    finish: str = ""
    """The provider's word for why the answer ended; in the last piece."""
    finish_message: str = ""
    vectors: tuple[Sequence[float], ...] = ()
    """Of what was to be embedded, all in one piece."""


@dataclass(frozen=True)
class BatchJob:
    """How far a batch is at the provider."""

    state: str
    """As `JobState` names it, without `JOB_STATE_`."""
    answers: Mapping[str, "Chunk | AttemptFailed"]
    """By the attempt; empty before the end."""


class Provider:
    """google-genai with everything off that it would do by itself."""

    def __init__(self, member: MemberSettings, *, safety_threshold: str) -> None:
        self.name = member.name
        self._member = member
        self._safety_threshold = safety_threshold
        self._session: aiohttp.ClientSession | None = None
        self._client: genai.Client | None = None

    async def start(self) -> None:
        self._session = open_session()
        member = self._member
        options = types.HttpOptions(
            base_url=member.base_url,
            api_version=member.api_version,
            # Without it the SDK sends a request again by itself when the connection breaks, which is billed twice.
            retry_options=types.HttpRetryOptions(attempts=1),
            aiohttp_client=self._session,
        )
        self._client = genai.Client(
            vertexai=member.vertex,
            api_key=member.api_key.get_secret_value() if member.api_key else None,
            project=member.project,
            location=member.location,
            http_options=options,
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def keeps_files(self) -> bool:
        """Whether files can be uploaded: Vertex AI takes them inline or from a bucket."""
        return not self._member.vertex

    @property
    def client(self) -> genai.client.AsyncClient:
        """For the calls that are not generations: files, caches, counting."""
        return self._client.aio

    async def stream(
        self,
        question: Question,
        *,
        attempt_id: str,
        timeout_s: float,
        uris: Mapping[str, str],
        cached: CachedPrefix | None = None,
    ) -> AsyncIterator[Chunk]:
        """The answer as it comes, ended by a piece with `finish`. Raises AttemptFailed."""
        config = config_of(question, safety_threshold=self._safety_threshold, cached=cached)
        config.http_options = _within(timeout_s)
        if self._member.vertex:
            config.labels = {ATTEMPT_LABEL: attempt_id}
        contents = contents_of(question, uris, cached)
        finished = False
        try:
            stream = await self.client.models.generate_content_stream(
                model=question.model, contents=contents, config=config
            )
            async with aclosing(stream):
                async for response in stream:
                    chunk = _chunk(response)
                    yield chunk
                    # Read on to the end of the body, or the connection could not be used again.
                    finished = finished or bool(chunk.finish)
        except Exception as error:
            if not finished:
                raise to_failure(error) from error
        if not finished:
            raise AttemptFailed(Kind.CUT, "the answer ended without its end")

    async def embed(self, question: EmbeddingQuestion, *, timeout_s: float) -> Chunk:
        """One vector an item, in their order. Raises AttemptFailed."""
        config = types.EmbedContentConfig(
            task_type=question.task_type or None,
            output_dimensionality=question.dimensions,
            http_options=_within(timeout_s),
        )
        # A Content each: what is together in one gets one vector.
        contents = [types.Content(role="user", parts=[_part(item)]) for item in question.items]
        with failing_as_attempts():
            response = await self.client.models.embed_content(model=question.model, contents=contents, config=config)
        said = response.usage_metadata
        return Chunk(
            usage=TokenUsage(_by_modality(said.prompt_tokens_details or (), said.prompt_token_count))
            if said and said.prompt_token_count
            else None,
            model=question.model,
            finish="STOP",
            vectors=tuple(embedding.values or () for embedding in response.embeddings or ()),
        )

    @property
    def takes_batches(self) -> bool:
        """Vertex AI's are files in its own storage."""
        return not self._member.vertex

    async def start_batch(self, questions: Mapping[str, Question], *, label: str, timeout_s: float) -> str:
        """Sends questions by their attempts, to one model; the provider's name of the batch. Raises AttemptFailed."""
        requests = [
            types.InlinedRequest(
                contents=contents_of(question, {}),
                config=config_of(question, safety_threshold=self._safety_threshold),
                metadata={ATTEMPT_LABEL: attempt_id},
            )
            for attempt_id, question in questions.items()
        ]
        model = next(iter(questions.values())).model
        config = types.CreateBatchJobConfig(display_name=label, http_options=_within(timeout_s))
        with failing_as_attempts():
            job = await self.client.batches.create(model=model, src=requests, config=config)
        if not job.name:
            raise AttemptFailed(Kind.MALFORMED, "a batch without a name")
        return job.name

    async def find_batch(self, label: str, *, timeout_s: float) -> str:
        """The provider's name of the batch sent with `label`; empty where there is none. Raises AttemptFailed."""
        config = types.ListBatchJobsConfig(page_size=100, http_options=_within(timeout_s))
        with failing_as_attempts():
            async for job in await self.client.batches.list(config=config):
                if job.display_name == label:
                    return job.name or ""
        return ""

    async def batch(self, name: str, *, timeout_s: float) -> BatchJob:
        """Raises AttemptFailed; REFUSED where the provider knows it no more."""
        config = types.GetBatchJobConfig(http_options=_within(timeout_s))
        with failing_as_attempts():
            job = await self.client.batches.get(name=name, config=config)
        answers = {
            (answer.metadata or {}).get(ATTEMPT_LABEL, ""): _batch_answer(answer)
            for answer in (job.dest.inlined_responses if job.dest else None) or ()
        }
        return BatchJob(job.state.value.removeprefix("JOB_STATE_") if job.state else "", answers)

    async def cancel_batch(self, name: str, *, timeout_s: float) -> None:
        """Raises AttemptFailed; REFUSED where it has ended."""
        config = types.CancelBatchJobConfig(http_options=_within(timeout_s))
        with failing_as_attempts():
            await self.client.batches.cancel(name=name, config=config)

    async def count_tokens(self, question: Question) -> int:
        """Tokens of the turns as the provider counts them, free of charge. Raises AttemptFailed."""
        config = types.CountTokensConfig(http_options=types.HttpOptions(timeout=_COUNT_TIMEOUT_MS))
        with failing_as_attempts():
            counted = await self.client.models.count_tokens(
                model=question.model, contents=contents_of(question, {}), config=config
            )
        return counted.total_tokens or 0


@contextmanager
def failing_as_attempts() -> Iterator[None]:
    """Around calls of `Provider.client`: raises AttemptFailed in the place of what they raise."""
    try:
        yield
    except Exception as error:
        raise to_failure(error) from error


def is_absent(failure: AttemptFailed) -> bool:
    """Whether it says that a file or a cache is not there: 404, or 403, as for those of other projects."""
    return isinstance(failure.__cause__, errors.APIError) and failure.__cause__.code in (403, 404)


def _within(seconds: float) -> types.HttpOptions:
    return types.HttpOptions(timeout=max(1, int(seconds * 1000)))


def _batch_answer(answer: types.InlinedResponse) -> Chunk | AttemptFailed:
    if answer.response is not None:
        return _chunk(answer.response)
    code = (answer.error.code if answer.error else None) or 0
    message = without_key(str((answer.error.message if answer.error else None) or "no reason given"))
    # As google.rpc.Code or as HTTP has it.
    if code in (3, 5, 9, 11) or 400 <= code < 500:
        return AttemptFailed(Kind.REFUSED, message)
    return AttemptFailed(Kind.BROKEN, message)


def _part(item: Text | File) -> types.Part:
    if isinstance(item, Text):
        return types.Part(text=item.text)
    return types.Part(inline_data=types.Blob(data=item.data, mime_type=item.facts.mime_type))


def _chunk(response: types.GenerateContentResponse) -> Chunk:
    said = response.usage_metadata
    candidate = response.candidates[0] if response.candidates else None
    parts = (candidate.content.parts if candidate and candidate.content else None) or []
    finish, message = "", ""
    if candidate and candidate.finish_reason:
        finish, message = candidate.finish_reason.value, candidate.finish_message or ""
    elif (feedback := response.prompt_feedback) and feedback.block_reason:
        finish, message = f"PROMPT_{feedback.block_reason.value}", feedback.block_reason_message or ""
    return Chunk(
        text=_well_formed("".join(part.text for part in parts if part.text and not part.thought)),
        # Until its last piece, Vertex AI tells the kind of traffic and counts nothing.
        usage=usage_of(said) if said and said.prompt_token_count else None,
        model=response.model_version or "",
        finish=finish,
        finish_message=_well_formed(message),
    )


def _well_formed(text: str) -> str:
    """With `?` for halves of characters, which JSON may hold and no proto takes."""
    return text.encode(errors="replace").decode()


def usage_of(said: types.GenerateContentResponseUsageMetadata) -> TokenUsage:
    """Tokens by modality; what the details leave open is text."""
    prompt = (said.prompt_token_count or 0) + (said.tool_use_prompt_token_count or 0)
    details = [*(said.prompt_tokens_details or ()), *(said.tool_use_prompt_tokens_details or ())]
    return TokenUsage(
        input=_by_modality(details, prompt),
        cached=_by_modality(said.cache_tokens_details or (), said.cached_content_token_count or 0),
        answer=said.candidates_token_count or 0,
        thinking=said.thoughts_token_count or 0,
    )


def _by_modality(details: Iterable[types.ModalityTokenCount], total: int) -> Mapping[Modality, int]:
    counts: dict[Modality, int] = {}
    for detail in details:
        modality = _MODALITIES.get(detail.modality, Modality.TEXT)
        counts[modality] = counts.get(modality, 0) + (detail.token_count or 0)
    if missing := total - sum(counts.values()):
        counts[Modality.TEXT] = counts.get(Modality.TEXT, 0) + missing
    return {modality: count for modality, count in counts.items() if count}
