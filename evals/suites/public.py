"""Suites over public data sets, each read from its published files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from evals import scorers
from evals.loaders import chartqa, docvqa, mmmu, pope, refcoco, scienceqa, textvqa
from evals.scorers import Score
from evals.suite import Item, Measure, Suite


@dataclass(frozen=True)
class PublicSet:
    """A data set and how it is scored."""

    about: str
    layout: str
    """What its folder holds."""
    load: Callable[[Path], list[Item]]
    score: Score
    measures: tuple[Measure, ...]
    max_tokens: int | None = None
    """Most tokens of a reply, as in PaliGemma's transfer to the set: big_vision's `transfers/`."""

    def suite(self, name: str, folder: Path) -> Suite:
        """The suite over the files in `folder`. Raises InvalidArgument when they are not as published."""
        return Suite(name, self.about, self.load(folder), self.score, self.measures, max_tokens=self.max_tokens)


_POPE = tuple(Measure(f"pope_{name}") for name in ("f1", "accuracy", "precision", "recall", "yes_ratio"))

SETS: Mapping[str, PublicSet] = {
    "docvqa": PublicSet(
        "Questions about scanned documents (DocVQA, validation), by ANLS.",
        docvqa.DOCVQA_LAYOUT,
        docvqa.docvqa,
        scorers.anls_mean("docvqa_anls"),
        (Measure("docvqa_anls"),),
        max_tokens=32,
    ),
    "infovqa": PublicSet(
        "Questions about infographics (InfographicVQA, validation), by ANLS.",
        docvqa.INFOVQA_LAYOUT,
        docvqa.infovqa,
        scorers.anls_mean("infovqa_anls"),
        (Measure("infovqa_anls"),),
        max_tokens=48,
    ),
    "chartqa": PublicSet(
        "Questions about charts (ChartQA, test), by relaxed accuracy at 5 %.",
        chartqa.LAYOUT,
        chartqa.chartqa,
        scorers.relaxed("chartqa_relaxed"),
        (Measure("chartqa_relaxed"),),
        max_tokens=48,
    ),
    "textvqa": PublicSet(
        "Questions about text in photographs (TextVQA, validation), by VQA accuracy.",
        textvqa.LAYOUT,
        textvqa.textvqa,
        scorers.vqa("textvqa_accuracy"),
        (Measure("textvqa_accuracy"),),
        max_tokens=32,
    ),
    "refcoco": PublicSet(
        "Things found by what is said of them (RefCOCO, RefCOCO+ or RefCOCOg), right at IoU 0.5.",
        refcoco.LAYOUT,
        refcoco.refcoco,
        scorers.referring("refcoco_accuracy"),
        (Measure("refcoco_accuracy"),),
        max_tokens=48,
    ),
    "pope": PublicSet(
        "Is there a ...? Half of the things asked about are not there (POPE on COCO).",
        pope.LAYOUT,
        pope.pope,
        scorers.pope("pope"),
        _POPE,
    ),
    "mmmu": PublicSet(
        "College questions with pictures (MMMU, validation), by accuracy.",
        mmmu.LAYOUT,
        mmmu.mmmu,
        scorers.choice("mmmu_accuracy"),
        (Measure("mmmu_accuracy"),),
    ),
    "scienceqa": PublicSet(
        "School questions with a picture (ScienceQA, test, IMG), by accuracy.",
        scienceqa.LAYOUT,
        scienceqa.scienceqa,
        scorers.choice("scienceqa_accuracy"),
        (Measure("scienceqa_accuracy"),),
    ),
}
