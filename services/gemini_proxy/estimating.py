"""What a question will read: from its files' headers, or by asking the provider about files that it alone can see."""

from collections import Counter
from fractions import Fraction
from math import ceil

from chiasm.v1 import errors_pb2
from services.gemini_proxy.catalogue import MediaResolution, find_model
from services.gemini_proxy.contents import schema_of, spoken, task_text
from services.gemini_proxy.estimate import Estimate, MediaPart, TextPart, Unknown, estimate
from services.gemini_proxy.failures import AttemptFailed, Kind, to_error
from services.gemini_proxy.pool import Pool
from services.gemini_proxy.question import File, Piece, Question, Reference, Text
from services.gemini_proxy.tasks import prompt_of
from services.gemini_proxy.usage import Modality
from services.runtime.errors import InvalidArgument

_MODALITIES = {
    "image": Modality.IMAGE,
    "application": Modality.DOCUMENT,
    "video": Modality.VIDEO,
    "audio": Modality.AUDIO,
}


async def estimate_of(question: Question, pool: Pool) -> Estimate:
    """Raises InvalidArgument for more than the model reads, and what a call to the provider does where it is asked."""
    estimated = estimate(_parts(question), question.model)
    if isinstance(estimated, Unknown):
        estimated = await _counted(question, pool)
    most, likely = find_model(question.model).context_tokens, sum(estimated.expected.values())
    if likely > most:
        raise InvalidArgument(
            f"about {likely:,} tokens; {question.model} reads {most:,}",
            field="messages",
            reason=errors_pb2.ERROR_REASON_PROMPT_TOO_LONG,
        )
    return estimated


async def _counted(question: Question, pool: Pool) -> Estimate:
    """With what the provider's `countTokens`, which is free, says of the turns; what is not seen here is likely of the
    first reference's modality."""
    total = await _count(question, pool)
    # It counts media as if no resolution were asked for.
    known = sum(estimate(_seen(_said(question, MediaResolution.UNSPECIFIED)), question.model).expected.values())
    seen = estimate(_seen(_parts(question)), question.model)
    modalities, factor = _references(question)
    rest = max(0, total - known)
    expected = ceil(rest * factor)
    # How much of it is sound, which costs the most, only the bill will tell.
    dearest = Modality.AUDIO if {Modality.AUDIO, Modality.VIDEO} & {*modalities} else modalities[0]
    return Estimate(
        Counter(seen.expected) + Counter({modalities[0]: expected}),
        Counter(seen.bound) + Counter({dearest: max(rest, expected)}),
    )


async def _count(question: Question, pool: Pool) -> int:
    """What the first member says that can; none is asked after one that refuses the question itself."""
    failure: AttemptFailed | None = None
    for name in pool.names:
        try:
            return await pool[name].count_tokens(question)
        except AttemptFailed as error:
            failure = error
            if error.kind is Kind.REFUSED:
                break
    raise to_error(failure, model=question.model, delivered=False) from failure


def _references(question: Question) -> tuple[list[Modality], Fraction]:
    """Their modalities, and how many times the tokens they have at the usual resolution the one asked for takes."""
    rules, resolution = find_model(question.model).rules, question.settings.media_resolution
    tables = {Modality.IMAGE: rules.image, Modality.DOCUMENT: rules.page, Modality.VIDEO: rules.frame}
    pieces = [piece for turn in question.turns for piece in turn.pieces if isinstance(piece, Reference)]
    modalities = [_MODALITIES.get(piece.mime_type.partition("/")[0], Modality.DOCUMENT) for piece in pieces]
    usual = MediaResolution.UNSPECIFIED
    factors = [
        Fraction(tables[modality].get(resolution, tables[modality][usual]), tables[modality][usual])
        for modality in modalities
        if modality in tables
    ]
    return modalities, max(factors, default=Fraction(1))


def _parts(question: Question) -> list[TextPart | MediaPart]:
    """Everything that the provider reads."""
    written = [*(text.text for text in question.system), schema_of(question)]
    return [*(TextPart(text) for text in written if text), *_said(question, question.settings.media_resolution)]


def _said(question: Question, resolution: MediaResolution) -> list[TextPart | MediaPart]:
    """The turns, with the task's own words."""
    parts = [_part(piece, resolution) for turn in question.turns for piece in spoken(question, turn)]
    if prompt := prompt_of(question.task, task_text(question)):
        parts.append(TextPart(prompt))
    return parts


def _seen(parts: list[TextPart | MediaPart]) -> list[TextPart | MediaPart]:
    return [part for part in parts if isinstance(part, TextPart) or part.facts is not None]


def _part(piece: Piece, resolution: MediaResolution) -> TextPart | MediaPart:
    if isinstance(piece, Text):
        return TextPart(piece.text)
    return MediaPart(piece.facts if isinstance(piece, File) else None, resolution)
