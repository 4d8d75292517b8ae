"""Whether a reply holds the answer of an open question of MMMU.

The rules are those of `parse_open_response` and `eval_open` in `eval/eval_utils.py` of
https://github.com/MMMU-Benchmark/MMMU: Yue et al., "MMMU", 2023, https://arxiv.org/abs/2311.16502.
"""

import re
from collections.abc import Iterator, Sequence

_LEADS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
"""What an answer comes after."""
_TRIVIAL = ("", *":,.!?;'")
_NUMBERS = (
    r"-?\b\d{1,3}(?:,\d{3})+\b",  # 1,234
    r"-?\d+(?:\.\d+)?e[+-]?\d+",  # 1.2e-3
    r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?!e[+-]?\d+)(?![,\d])",
)


def open_match(said: str, accepted: Sequence[str]) -> bool:
    """Whether one of the `accepted` answers is in what the reply ends its sentences on.

    Numbers are equal when they are after rounding to two decimals; a text need only occur, case aside.
    """
    tails = _tails(said)
    numbers = [number for tail in tails for pattern in _NUMBERS for number in re.findall(pattern, tail)]
    found = {form for part in (*tails, *numbers) for form in _forms(part)}
    right = {form for answer in accepted for form in _forms(answer)}
    texts = [form for form in found if isinstance(form, str)]
    return any(form in found if isinstance(form, float) else any(form in text for text in texts) for form in right)


def _tails(said: str) -> list[str]:
    """The shortest text after a lead of each line that has one; the whole reply where none has."""
    whole = said.strip().strip(".").lower()
    *others, last = whole.split("\n")
    tails = [_tail(line, _LEADS) for line in others] + [_tail(last, (*_LEADS, "="))]
    return [tail for tail in tails if tail not in _TRIVIAL] or [whole]


def _tail(line: str, leads: Sequence[str]) -> str:
    shortest = ""
    for lead in leads:
        after = line.rpartition(lead)[2].strip()
        if lead in line and (not shortest or len(after) < len(shortest)):
            shortest = after
    return shortest


def _forms(text: str) -> Iterator[str | float]:
    """A number rounded, or the text in lower case; a single character only with a space beside it."""
    text = text.strip()
    try:
        yield round(float(text.replace(",", "")), 2)
    except ValueError:
        lower = text.lower()
        yield from (f" {lower}", f"{lower} ") if len(lower) == 1 else (lower,)
