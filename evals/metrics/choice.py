"""Which of lettered options a reply names, for multiple-choice questions."""

import re
import string
from collections.abc import Sequence

LETTERS = string.ascii_uppercase


def lettered(options: Sequence[str]) -> str:
    """The options as lines, `A. text`, as MMMU and ScienceQA prompts have them."""
    return "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))


def chosen(said: str, options: Sequence[str]) -> str:
    """The letter that a reply names, or an empty text where it names none.

    In order: the option whose text the whole reply is, case and a final full stop aside; the last letter in brackets,
    after "answer is", or standing free; the longest option whose text the reply holds as whole words, the last one
    where several are as long. As `parse_multi_choice_response` of https://github.com/MMMU-Benchmark/MMMU, with three
    differences: it does not compare whole replies, looks for texts only in more than five words and takes the last of
    them, and draws at random where a reply names none, which is wrong here. It too takes the article "A" for a letter.
    """
    letters = LETTERS[: len(options)]
    texts = {letter: text for letter, text in zip(letters, map(_folded, options), strict=True) if text}
    reply = _folded(said)
    if whole := [letter for letter, text in texts.items() if text == reply]:
        return whole[0]
    patterns = (
        rf"\(([{letters}])\)",
        rf"[Aa]nswer\W+(?:is\W+)?([{letters}])\b",
        rf"(?<!\S)([{letters}])(?=[.,:;!?)]*(?:\s|$))",
    )
    for pattern in patterns:
        if found := re.findall(pattern, said):
            return found[-1]
    held = [(len(text), place, letter) for letter, text in texts.items() if (place := _last_place(text, reply)) >= 0]
    return max(held)[2] if held else ""


def _folded(text: str) -> str:
    return " ".join(text.lower().split()).removesuffix(".")


def _last_place(text: str, reply: str) -> int:
    """Where `text` stands last in `reply`, not inside a word or a number; -1 where it does not."""
    pattern = rf"(?<!\w)(?<!\d[.,]){re.escape(text)}(?!\w|[.,]\d)"
    return max((match.start() for match in re.finditer(pattern, reply)), default=-1)
