"""What is known of Gemini's models: how each family counts media, and what each model takes.

Gathered in November 2026 from
- https://ai.google.dev/gemini-api/docs/media-resolution, https://ai.google.dev/gemini-api/docs/tokens: tokens of media
- https://ai.google.dev/gemini-api/docs/image-understanding: tiles of 2.x, pictures a request
- https://ai.google.dev/gemini-api/docs/models and https://ai.google.dev/gemini-api/docs/generate-content/latest-model
- https://ai.google.dev/gemini-api/docs/caching: least tokens of a cache; https://ai.google.dev/gemini-api/docs/thinking
- https://ai.google.dev/gemini-api/docs/deprecations: what 2.5 is rerouted to

Aliases ("pro", "flash") are configuration. Prices, long-context tiers among them, are in `prices`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum

from services.gemini_proxy.usage import Modality

MAX_IMAGES_PER_REQUEST = 3_600


class MediaResolution(StrEnum):
    """As `generationConfig.mediaResolution` names them; ULTRA_HIGH is for single pictures."""

    UNSPECIFIED = "MEDIA_RESOLUTION_UNSPECIFIED"
    LOW = "MEDIA_RESOLUTION_LOW"
    MEDIUM = "MEDIA_RESOLUTION_MEDIUM"
    HIGH = "MEDIA_RESOLUTION_HIGH"
    ULTRA_HIGH = "MEDIA_RESOLUTION_ULTRA_HIGH"


@dataclass(frozen=True)
class TokenRules:
    """How a family counts media. A resolution that a table lacks counts as UNSPECIFIED, the default."""

    image: Mapping[MediaResolution, int]
    """Tokens of a picture, or of a tile of it where `tiled`."""
    page: Mapping[MediaResolution, int]
    """Tokens of a PDF page."""
    frame: Mapping[MediaResolution, int]
    """Tokens of a video frame."""
    audio_second: int
    """Tokens of a second of sound, a video's sound too."""
    tiled: bool = False
    """Whether pictures above 384 pixels are cut into tiles, except at LOW."""
    verified: bool = True
    """False where the provider has published no rule, and these are taken from the nearest one."""


@dataclass(frozen=True)
class Model:
    """What one model takes and does."""

    name: str
    """As Gemini names it, without `models/`."""
    rules: TokenRules
    context_tokens: int
    """Most tokens read."""
    output_tokens: int
    """Most tokens written, thinking included; 0 for an embedding model."""
    modalities: frozenset[Modality]
    """What it reads besides text."""
    thinking_levels: tuple[str, ...] = ()
    """Values of `thinkingConfig.thinkingLevel`; none where the model has a budget or does not think."""
    thinking_budget: range | None = None
    """Values of `thinkingConfig.thinkingBudget`; None where the model has levels or does not think."""
    cache_min_tokens: int | None = None
    """Fewest tokens of an explicit cache; None where it takes none."""
    rerouted_from: date | None = None
    """From when on the provider answers with one of `rerouted_to` instead, silently; None for never."""
    rerouted_to: tuple[str, ...] = ()
    embeds: bool = False
    """Whether it gives vectors rather than text."""
    known: bool = True
    """False for a name that is not in this catalogue: it is taken to be like the newest of its family."""


_U, _LOW, _MEDIUM = MediaResolution.UNSPECIFIED, MediaResolution.LOW, MediaResolution.MEDIUM
_HIGH, _ULTRA = MediaResolution.HIGH, MediaResolution.ULTRA_HIGH

# 258 and 66 are the published 256 and 64 with the two tokens that open and close a picture.
GEMINI_2 = TokenRules(image={_U: 258, _LOW: 66}, page={_U: 258}, frame={_U: 258, _LOW: 66}, audio_second=32, tiled=True)
GEMINI_3 = TokenRules(
    image={_U: 1120, _LOW: 280, _MEDIUM: 560, _HIGH: 1120, _ULTRA: 2240},
    # ULTRA_HIGH is refused for these, or taken for HIGH.
    page={_U: 560, _LOW: 280, _MEDIUM: 560, _HIGH: 1120, _ULTRA: 1120},
    frame={_U: 70, _HIGH: 280, _ULTRA: 280},
    audio_second=25,
)
GEMINI_4 = TokenRules(GEMINI_3.image, GEMINI_3.page, GEMINI_3.frame, GEMINI_3.audio_second, verified=False)
# From the prices a picture, a frame and a second that the pricing page gives beside those a token.
EMBEDDING = TokenRules(image={_U: 258}, page={_U: 258}, frame={_U: 66}, audio_second=25, verified=False)

_MEDIA = frozenset({Modality.IMAGE, Modality.DOCUMENT, Modality.VIDEO, Modality.AUDIO})
_LEVELS = ("low", "medium", "high")
_MINIMAL_LEVELS = ("minimal", *_LEVELS)


def _gemini_3(name: str, levels: tuple[str, ...], cache_min_tokens: int) -> Model:
    return Model(name, GEMINI_3, 1_048_576, 65_536, _MEDIA, levels, cache_min_tokens=cache_min_tokens)


def _gemini_2_5(name: str, budget: range) -> Model:
    return Model(
        name,
        GEMINI_2,
        1_048_576,
        65_536,
        _MEDIA,
        thinking_budget=budget,
        cache_min_tokens=2_048,
        rerouted_from=date(2026, 12, 1),
        rerouted_to=("gemini-3.8-flash", "gemini-3.5-flash-lite"),
    )


# The newest of a family comes first. The caches of the lite models have no published least size: 6,144 is the greatest
# of any model's.
_MODELS = (
    Model("gemini-4-argon", GEMINI_4, 1_048_576, 65_536, _MEDIA, _LEVELS),
    _gemini_3("gemini-3.8-flash", _LEVELS, 4_096),
    _gemini_3("gemini-3.7-flash", _LEVELS, 4_096),
    _gemini_3("gemini-3.6-flash", _MINIMAL_LEVELS, 4_096),
    _gemini_3("gemini-3.5-flash", _MINIMAL_LEVELS, 4_096),
    _gemini_3("gemini-3.5-flash-lite", _MINIMAL_LEVELS, 6_144),
    _gemini_3("gemini-3.1-flash-lite", _MINIMAL_LEVELS, 6_144),
    _gemini_3("gemini-3.1-pro-preview", _LEVELS, 4_096),
    _gemini_2_5("gemini-2.5-pro", range(128, 32_769)),
    _gemini_2_5("gemini-2.5-flash", range(24_577)),
    _gemini_2_5("gemini-2.5-flash-lite", range(512, 24_577)),
    Model("gemini-embedding-2", EMBEDDING, 8_192, 0, _MEDIA, embeds=True),
    Model("gemini-embedding-001", EMBEDDING, 2_048, 0, frozenset(), embeds=True),
)
_BY_NAME = {model.name: model for model in _MODELS}


def find_model(name: str) -> Model:
    """What is known of the model `name`, as Gemini names it, with or without `models/`; never fails.

    A dated or preview revision ("gemini-3.8-flash-001") is its model. Any other name gets what is known of the newest
    model whose name begins alike, or of the newest of all, with `known` False.
    """
    name = name.removeprefix("models/")
    if revised := max((known for known in _BY_NAME if _is_revision(name, known)), key=len, default=None):
        return _BY_NAME[revised]
    nearest = max(_MODELS, key=lambda model: len(_family(model.name)) if name.startswith(_family(model.name)) else 0)
    return replace(nearest, name=name, known=False)


def _is_revision(name: str, known: str) -> bool:
    rest = name.removeprefix(known)
    return name.startswith(known) and (not rest or rest.removeprefix("-preview").lstrip("-0123456789") == "")


def _family(name: str) -> str:
    """`gemini-3` of `gemini-3.8-flash`, `gemini-embedding` of `gemini-embedding-2`."""
    return "-".join(name.partition(".")[0].split("-")[:2])
