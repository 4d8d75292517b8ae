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

    In order: the last letter in brackets, after "answer is", or before a mark or the end; then the option whose text
    the reply holds, the last one where there are several. As `parse_multi_choice_response` of
    https://github.com/MMMU-Benchmark/MMMU, but a reply that names none is wrong here, not drawn at random.
    """
    letters = LETTERS[: len(options)]
    patterns = (
        rf"\(([{letters}])\)",
        rf"[Aa]nswer\W+(?:is\W+)?([{letters}])\b",
        rf"(?<![\w'])([{letters}])(?=[.,:;)]|\s*$)",
    )
    for pattern in patterns:
        if found := re.findall(pattern, said):
            return found[-1]
    places = {letter: said.lower().rfind(option.lower()) for letter, option in zip(letters, options, strict=True)}
    letter, place = max(places.items(), key=lambda item: item[1])
    return letter if place >= 0 else ""
