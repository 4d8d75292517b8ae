from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gemini_proxy.catalogue import MediaResolution
from services.gemini_proxy.estimate import Estimate, MediaPart, TextPart, Unknown, estimate
from services.gemini_proxy.media_facts import MediaFacts
from services.gemini_proxy.usage import Modality

LOW, MEDIUM, HIGH, ULTRA = (MediaResolution[name] for name in ("LOW", "MEDIUM", "HIGH", "ULTRA_HIGH"))
DEFAULT = MediaResolution.UNSPECIFIED
TEN_SECONDS = MediaFacts("video/mp4", Modality.VIDEO, seconds=Fraction(10), audio_seconds=Fraction(10))
SILENT = MediaFacts("video/mp4", Modality.VIDEO, seconds=Fraction(10))
SOUND = MediaFacts("audio/wav", Modality.AUDIO, seconds=Fraction(60))


def picture(width: int, height: int) -> MediaFacts:
    return MediaFacts("image/png", Modality.IMAGE, width, height)


def document(pages: int) -> MediaFacts:
    return MediaFacts("application/pdf", Modality.DOCUMENT, pages=pages)


def estimated(parts: list[TextPart | MediaPart], model: str) -> Estimate:
    found = estimate(parts, model)
    assert isinstance(found, Estimate)
    return found


@pytest.mark.parametrize(
    ("model", "facts", "resolution", "tokens"),
    [
        # https://ai.google.dev/gemini-api/docs/image-understanding#token-calculation and hand-made ones
        ("gemini-2.5-flash", picture(384, 384), DEFAULT, {Modality.IMAGE: 258}),
        ("gemini-2.5-flash", picture(1, 1), DEFAULT, {Modality.IMAGE: 258}),
        ("gemini-2.5-flash", picture(960, 540), DEFAULT, {Modality.IMAGE: 6 * 258}),
        ("gemini-2.5-flash", picture(540, 960), DEFAULT, {Modality.IMAGE: 6 * 258}),
        ("gemini-2.5-flash", picture(385, 384), DEFAULT, {Modality.IMAGE: 4 * 258}),
        ("gemini-2.5-flash", picture(1000, 1000), DEFAULT, {Modality.IMAGE: 4 * 258}),
        ("gemini-2.5-flash", picture(1920, 1080), DEFAULT, {Modality.IMAGE: 6 * 258}),
        ("gemini-2.5-flash", picture(960, 540), LOW, {Modality.IMAGE: 66}),
        # https://ai.google.dev/gemini-api/docs/media-resolution#token-counts
        ("gemini-3.8-flash", picture(10, 4_000), DEFAULT, {Modality.IMAGE: 1120}),
        ("gemini-3.8-flash", picture(960, 540), LOW, {Modality.IMAGE: 280}),
        ("gemini-3.8-flash", picture(960, 540), MEDIUM, {Modality.IMAGE: 560}),
        ("gemini-3.8-flash", picture(960, 540), HIGH, {Modality.IMAGE: 1120}),
        ("gemini-3.8-flash", picture(960, 540), ULTRA, {Modality.IMAGE: 2240}),
        ("gemini-2.5-pro", document(7), DEFAULT, {Modality.DOCUMENT: 7 * 258}),
        ("gemini-3.1-pro-preview", document(7), DEFAULT, {Modality.DOCUMENT: 7 * 560}),
        ("gemini-3.1-pro-preview", document(7), LOW, {Modality.DOCUMENT: 7 * 280}),
        ("gemini-3.1-pro-preview", document(7), HIGH, {Modality.DOCUMENT: 7 * 1120}),
        ("gemini-2.5-pro", TEN_SECONDS, DEFAULT, {Modality.VIDEO: 2_580, Modality.AUDIO: 320}),
        ("gemini-2.5-pro", TEN_SECONDS, LOW, {Modality.VIDEO: 660, Modality.AUDIO: 320}),
        ("gemini-2.5-pro", SILENT, DEFAULT, {Modality.VIDEO: 2_580}),
        ("gemini-3.8-flash", TEN_SECONDS, DEFAULT, {Modality.VIDEO: 700, Modality.AUDIO: 250}),
        ("gemini-3.8-flash", TEN_SECONDS, LOW, {Modality.VIDEO: 700, Modality.AUDIO: 250}),
        ("gemini-3.8-flash", TEN_SECONDS, HIGH, {Modality.VIDEO: 2_800, Modality.AUDIO: 250}),
        ("gemini-2.5-flash", SOUND, DEFAULT, {Modality.AUDIO: 1_920}),
        ("gemini-3.8-flash", SOUND, DEFAULT, {Modality.AUDIO: 1_500}),
    ],
)
def test_published_examples(
    model: str, facts: MediaFacts, resolution: MediaResolution, tokens: dict[Modality, int]
) -> None:
    found = estimated([MediaPart(facts, resolution)], model)
    assert found.expected == tokens
    assert all(found.bound[modality] >= count for modality, count in tokens.items())


@pytest.mark.parametrize(("rate", "frames"), [(Fraction(2), 20), (Fraction(1, 2), 5), (Fraction(1, 60), 1)])
def test_frames_are_sampled_at_the_rate_asked_for(rate: Fraction, frames: int) -> None:
    found = estimated([MediaPart(SILENT, frames_per_second=rate)], "gemini-3.8-flash")
    assert found.expected == {Modality.VIDEO: frames * 70}


def test_the_bound_of_2_x_holds_for_its_models_to_come() -> None:
    """From December 2026 other models answer in the place of 2.5, and count by their own rules."""
    found = estimated([MediaPart(document(10)), MediaPart(picture(100, 100))], "gemini-2.5-flash")
    assert found.bound[Modality.DOCUMENT] == 5_600
    assert found.bound[Modality.IMAGE] == 1_120


def test_the_bound_of_2_x_holds_where_tiles_have_a_greatest_size() -> None:
    """Vertex AI: 4000 x 3000 pixels are 6 x 4 tiles of at most 768, not 2 x 2 of 2000."""
    found = estimated([MediaPart(picture(4_000, 3_000))], "gemini-2.5-flash")
    assert found.expected[Modality.IMAGE] == 4 * 258
    assert found.bound[Modality.IMAGE] == 24 * 258


@pytest.mark.parametrize("model", ["gemini-4-argon", "gemini-3.9-flash", "gemini-embedding-2"])
def test_the_bound_is_doubled_where_no_rule_is_published(model: str) -> None:
    found = estimated([MediaPart(picture(100, 100))], model)
    assert found.bound[Modality.IMAGE] == 2 * found.expected[Modality.IMAGE]


def test_media_that_were_never_seen_are_for_the_provider_to_count() -> None:
    parts = [TextPart("what is this?"), MediaPart(None), MediaPart(picture(9, 9)), MediaPart(None)]
    assert estimate(parts, "gemini-3.8-flash") == Unknown((1, 3))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("four", 1), ("fiver", 2), ("x" * 4_000, 1_000), ("日本語" * 100, 200), ("😀" * 10, 10)],
)
def test_text_is_about_so_many_tokens(text: str, tokens: int) -> None:
    assert estimated([TextPart(text)], "gemini-3.8-flash").expected.get(Modality.TEXT, 0) == tokens


@given(st.text())
def test_text_is_bounded_by_its_bytes_and_what_stands_around_it(text: str) -> None:
    found = estimated([TextPart(text)], "gemini-3.8-flash")
    assert found.bound == {Modality.TEXT: len(text.encode()) + 24}
    assert found.expected.get(Modality.TEXT, 0) <= found.bound[Modality.TEXT]


media = st.one_of(
    st.builds(picture, st.integers(1, 20_000), st.integers(1, 20_000)),
    st.builds(document, st.integers(1, 1_000)),
    st.builds(
        lambda seconds, sound: MediaFacts("video/mp4", Modality.VIDEO, seconds=seconds, audio_seconds=sound),
        st.fractions(Fraction(1, 100), 36_000),
        st.one_of(st.just(Fraction(0)), st.fractions(Fraction(1, 100), 36_000)),
    ),
    st.builds(
        lambda seconds: MediaFacts("audio/wav", Modality.AUDIO, seconds=seconds), st.fractions(Fraction(1, 100), 36_000)
    ),
)
parts = st.lists(
    st.one_of(
        st.builds(TextPart, st.text(max_size=50)),
        st.builds(MediaPart, media, st.sampled_from(MediaResolution), st.fractions(Fraction(1, 60), 60)),
    ),
    max_size=6,
)
models = st.sampled_from(["gemini-2.5-pro", "gemini-3.8-flash", "gemini-4-argon", "gemini-embedding-2", "gemini-7"])


@given(parts, models)
def test_the_bound_is_no_less_than_what_is_expected_of_any_modality(
    parts: list[TextPart | MediaPart], model: str
) -> None:
    found = estimated(parts, model)
    assert all(found.bound.get(modality, 0) >= count >= 0 for modality, count in found.expected.items())


@given(parts, parts, models)
def test_parts_add_up(first: list[TextPart | MediaPart], second: list[TextPart | MediaPart], model: str) -> None:
    both, one, other = (estimated(some, model).expected for some in (first + second, first, second))
    assert both == {m: one.get(m, 0) + other.get(m, 0) for m in one.keys() | other.keys()}
