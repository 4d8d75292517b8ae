"""What is said to be there and is not: POPE's answers and CHAIR's counts."""

import re
from collections.abc import Collection, Mapping
from typing import Literal


def pope_answer(said: str) -> Literal["yes", "no"]:
    """What a reply to "is there a ...?" is taken for: no where its first sentence has "No", "no" or "not", else yes.

    `evaluate.py` of https://github.com/AoiDragon/POPE; Li et al., "Evaluating Object Hallucination in Large
    Vision-Language Models", 2023, https://arxiv.org/abs/2305.10355.
    """
    words = said.split(".")[0].replace(",", "").split()
    return "no" if {"No", "no", "not"} & set(words) else "yes"


def pope_counts(said: Literal["yes", "no"], right: Literal["yes", "no"]) -> dict[str, tuple[int, int]]:
    """One answer's share in POPE's five figures, each as numerator and denominator to be summed over questions.

    Precision, recall and F1 are those of "yes": it is the hallucination that "no" would have avoided.
    """
    yes, hit = int(said == "yes"), int(said == right == "yes")
    right_yes = int(right == "yes")
    return {
        "accuracy": (int(said == right), 1),
        "precision": (hit, yes),
        "recall": (hit, right_yes),
        "f1": (2 * hit, yes + right_yes),
        "yes_ratio": (yes, 1),
    }


def chair_counts(mentioned: Collection[str], present: Collection[str]) -> dict[str, tuple[int, int]]:
    """One caption's share in CHAIR's two figures, each as numerator and denominator to be summed over captions.

    `mentioned` is every object the caption names, repeats included; `present` those in the picture. CHAIR_i: objects
    hallucinated over objects mentioned. CHAIR_s: captions with one over captions. Lower is better. Rohrbach et al.,
    "Object Hallucination in Image Captioning", 2018, section 2.1, https://arxiv.org/abs/1809.02156.
    """
    invented = sum(thing not in present for thing in mentioned)
    return {"chair_i": (invented, len(mentioned)), "chair_s": (int(invented > 0), 1)}


def mentions(caption: str, synonyms: Mapping[str, str]) -> list[str]:
    """The objects that a caption names, in order, repeats included.

    `synonyms` maps each lower-case way to name an object to the object; the longest name at a place wins, and a plural
    in -s or -es counts as its singular.
    """
    words = re.findall(r"[\w'-]+", caption.lower())
    longest = max((name.count(" ") + 1 for name in synonyms), default=0)
    found, at = [], 0
    while at < len(words):
        spans = range(min(longest, len(words) - at), 0, -1)
        name, span = next(((n, s) for s in spans if (n := _named(words[at : at + s], synonyms))), (None, 1))
        if name:
            found.append(name)
        at += span
    return found


def _named(words: list[str], synonyms: Mapping[str, str]) -> str | None:
    name = " ".join(words)
    forms = (name, name.removesuffix("s"), name.removesuffix("es"))
    return next((synonyms[form] for form in forms if form in synonyms), None)
