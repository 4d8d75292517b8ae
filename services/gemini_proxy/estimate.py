"""How many input tokens the provider will count: the likely number, and one that it cannot exceed.

Media by the rules of `catalogue`. Text is likely a token for so many characters of its script; and since SentencePiece
falls back to single bytes, has a vocabulary without empty pieces and does not normalise (as Gemma's, Gemini's sibling:
https://arxiv.org/abs/2403.08295), never more tokens than bytes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from services.gemini_proxy.catalogue import MediaResolution, Model, TokenRules, find_model
from services.gemini_proxy.media_facts import MediaFacts
from services.gemini_proxy.usage import Modality

# Roles, the ends of turns and the beginning of the prompt, and what opens and closes a part.
_REQUEST_OVERHEAD = 16
_PART_OVERHEAD = 8
# "About 300 tokens a second" of 2.x video, of which 290 are a frame and its sound: the rest are time stamps.
# https://ai.google.dev/gemini-api/docs/video-understanding
_TIME_STAMP = 10
_UNTILED_SIDE = 384
# Vertex AI keeps tiles within these sides, the Gemini API does not say so.
# https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/image-understanding
_MIN_TILE_SIDE, _MAX_TILE_SIDE = 256, 768

# Characters of a token, by the Unicode blocks of the scripts that have fewer than the four of most text
# (https://ai.google.dev/gemini-api/docs/tokens). Rough: the bound is what a limit is kept with.
_CHARACTERS_PER_TOKEN = 4
_SCRIPTS = (
    (range(0x0370, 0x0590), Fraction(3)),  # Greek, Cyrillic, Armenian
    (range(0x0590, 0x0E00), Fraction(5, 2)),  # Hebrew, Arabic, the scripts of India
    (range(0x0E00, 0x1100), Fraction(2)),  # Thai, Lao, Tibetan, Burmese, Georgian
    (range(0x1100, 0x1200), Fraction(3, 2)),  # Korean letters
    (range(0x1780, 0x1800), Fraction(2)),  # Khmer
    (range(0x2E80, 0xA4D0), Fraction(3, 2)),  # Chinese and Japanese
    (range(0xAC00, 0xD7B0), Fraction(3, 2)),  # Korean syllables
    (range(0xF900, 0xFB00), Fraction(1)),  # rare Chinese
    (range(0x10000, 0x110000), Fraction(1)),  # emoji, ancient scripts, rare Chinese
)


@dataclass(frozen=True)
class TextPart:
    """Text that the model reads: a message, an instruction, a JSON schema, a function's declaration."""

    text: str


@dataclass(frozen=True)
class MediaPart:
    """A media that the model reads."""

    facts: MediaFacts | None
    """None for one that is passed by reference and was never seen."""
    resolution: MediaResolution = MediaResolution.UNSPECIFIED
    """The part's own, or else the request's."""
    frames_per_second: Fraction = Fraction(1)
    """How many frames of a second of video are sampled, above 0; https://ai.google.dev/api/caching#VideoMetadata."""


@dataclass(frozen=True)
class Estimate:
    """Input tokens by modality, 0 or more each. Documents count as DOCUMENT, though 3.x reports them as IMAGE."""

    expected: Mapping[Modality, int]
    """The likely number; of pictures and documents, what the published rule gives."""
    bound: Mapping[Modality, int]
    """No fewer in all than the provider counts."""


@dataclass(frozen=True)
class Unknown:
    """Nothing can be said before the provider's `countTokens` has been asked."""

    parts: tuple[int, ...]
    """The places, from 0, of the parts that nothing is known of; at least one."""


def estimate(parts: Sequence[TextPart | MediaPart], model: str) -> Estimate | Unknown:
    """Input tokens of a request to `model`, as Gemini names it: every part of every message, and what else it reads.

    The bound holds too for the models that may answer in its place, and is doubled where no rule is published.
    """
    unknown = tuple(place for place, part in enumerate(parts) if isinstance(part, MediaPart) and part.facts is None)
    if unknown:
        return Unknown(unknown)
    asked = find_model(model)
    expected: Counter[Modality] = Counter()
    bound: Counter[Modality] = Counter({Modality.TEXT: _REQUEST_OVERHEAD})
    rules = _rules_that_may_apply(asked)
    for part in parts:
        expected += _expected(part, asked.rules)
        bound += _bound(part, rules)
        bound[Modality.TEXT] += _PART_OVERHEAD
    return Estimate(dict(expected), dict(bound))


def _rules_that_may_apply(model: Model) -> list[tuple[TokenRules, bool]]:
    """With each, whether it is what the provider publishes."""
    models = (model, *map(find_model, model.rerouted_to))
    return [(each.rules, each.known and each.rules.verified) for each in models]


def _expected(part: TextPart | MediaPart, rules: TokenRules) -> Counter[Modality]:
    if isinstance(part, TextPart):
        return Counter({Modality.TEXT: _likely_text_tokens(part.text)})
    return _media_tokens(part, rules)


def _bound(part: TextPart | MediaPart, rules: Sequence[tuple[TokenRules, bool]]) -> Counter[Modality]:
    if isinstance(part, TextPart):
        return Counter({Modality.TEXT: len(part.text.encode())})
    bound: Counter[Modality] = Counter()
    for each, published in rules:
        tokens = _media_tokens(part, each) | _looser_tokens(part, each)
        bound |= tokens if published else tokens + tokens
    return bound


def _media_tokens(part: MediaPart, rules: TokenRules) -> Counter[Modality]:
    """By the published rule."""
    facts = part.facts
    match facts.modality:
        case Modality.IMAGE:
            tokens = _at(rules.image, part.resolution)
            tiled = rules.tiled and part.resolution is not MediaResolution.LOW
            return Counter({Modality.IMAGE: tokens * (_tiles(facts.width, facts.height) if tiled else 1)})
        case Modality.DOCUMENT:
            return Counter({Modality.DOCUMENT: facts.pages * _at(rules.page, part.resolution)})
        case Modality.VIDEO:
            frames = _frames(part) * _at(rules.frame, part.resolution)
            return Counter({Modality.VIDEO: frames, Modality.AUDIO: ceil(facts.audio_seconds * rules.audio_second)})
        case _:
            return Counter({Modality.AUDIO: ceil(facts.seconds * rules.audio_second)})


def _looser_tokens(part: MediaPart, rules: TokenRules) -> Counter[Modality]:
    """By what is published elsewhere, or only approximately."""
    facts = part.facts
    if facts.modality is Modality.IMAGE and rules.tiled:
        tiles = max(_tiles(facts.width, facts.height), _clamped_tiles(facts.width, facts.height))
        return Counter({Modality.IMAGE: rules.image[MediaResolution.UNSPECIFIED] * tiles})
    if facts.modality is Modality.VIDEO:
        # A frame and a second more than the header says.
        frames = _frames(part) + 1
        sound_seconds = ceil(facts.audio_seconds) + 1 if facts.audio_seconds else 0
        return Counter(
            {
                Modality.VIDEO: frames * _at(rules.frame, part.resolution),
                Modality.AUDIO: sound_seconds * rules.audio_second,
                Modality.TEXT: (frames + sound_seconds) * _TIME_STAMP,
            }
        )
    if facts.modality is Modality.AUDIO:
        seconds = ceil(facts.seconds) + 1
        return Counter({Modality.AUDIO: seconds * rules.audio_second, Modality.TEXT: seconds * _TIME_STAMP})
    return Counter()


def _at(table: Mapping[MediaResolution, int], resolution: MediaResolution) -> int:
    return table.get(resolution, table[MediaResolution.UNSPECIFIED])


def _tiles(width: int, height: int) -> int:
    """https://ai.google.dev/gemini-api/docs/image-understanding#token-calculation"""
    if max(width, height) <= _UNTILED_SIDE:
        return 1
    return _cut(width, height, max(1, min(width, height) * 2 // 3))


def _clamped_tiles(width: int, height: int) -> int:
    return _cut(width, height, min(max(min(width, height) * 2 // 3, _MIN_TILE_SIDE), _MAX_TILE_SIDE))


def _cut(width: int, height: int, side: int) -> int:
    return -(-width // side) * -(-height // side)


def _frames(part: MediaPart) -> int:
    return max(1, ceil(part.facts.seconds * part.frames_per_second))


def _likely_text_tokens(text: str) -> int:
    if text.isascii():
        return -(-len(text) // _CHARACTERS_PER_TOKEN)
    tokens = Fraction(0)
    for character, count in Counter(text).items():
        tokens += count / _characters_per_token(ord(character))
    return ceil(tokens)


def _characters_per_token(code_point: int) -> Fraction:
    return next((rate for block, rate in _SCRIPTS if code_point in block), Fraction(_CHARACTERS_PER_TOKEN))
