"""How items are scored, from what was replied and what is right. No reply at all counts as a wrong one."""

from collections.abc import Callable, Collection, Mapping, Sequence

from chiasm import Detection
from evals.metrics.boxes import REC_IOU, f1_at, matched_ious, rec_hit
from evals.metrics.choice import chosen
from evals.metrics.consistency import agreeing_pairs
from evals.metrics.hallucination import chair_counts, mentions, pope_answer, pope_counts
from evals.metrics.open_answer import open_match
from evals.metrics.ranking import ndcg_at, recall_at
from evals.metrics.text import anls, character_edits, exact_match, relaxed_match, word_edits
from evals.metrics.vqa import vqa_accuracy
from evals.suite import Item, Reply, Scores

_INVENTED = ""  # named by no caption

Score = Callable[[Item, Sequence[Reply]], Scores]


def mean_of(name: str, metric: Callable[[str, Sequence[str]], float]) -> Score:
    """The mean of a text metric of the first reply against the accepted answers."""

    def score(item: Item, replies: Sequence[Reply]) -> Scores:
        return {name: (float(metric(replies[0].text, item.answers)) if replies else 0.0, 1)}

    return score


def exact(name: str) -> Score:
    return mean_of(name, exact_match)


def relaxed(name: str) -> Score:
    return mean_of(name, relaxed_match)


def anls_mean(name: str) -> Score:
    return mean_of(name, anls)


def vqa(name: str) -> Score:
    return mean_of(name, vqa_accuracy)


def choice(name: str) -> Score:
    """Whether the reply names the right option; without options, whether it holds an answer (`open_match`)."""

    def score(item: Item, replies: Sequence[Reply]) -> Scores:
        said = replies[0].text if replies else ""
        if not item.options:
            return {name: (float(bool(said) and open_match(said, item.answers)), 1)}
        return {name: (float(chosen(said, item.options) in item.answers), 1)}

    return score


def error_rates(prefix: str) -> Score:
    """CER and WER."""

    def score(item: Item, replies: Sequence[Reply]) -> Scores:
        said, right = replies[0].text if replies else "", item.answers[0]
        return {
            f"{prefix}_cer": (character_edits(said, right), len(right)),
            f"{prefix}_wer": (word_edits(said, right), len(right.split())),
        }

    return score


def detection(prefix: str) -> Score:
    """Mean IoU of the expected boxes, the share found at IoU 0.5, and F1 there; boxes are matched label by label."""

    def score(item: Item, replies: Sequence[Reply]) -> Scores:
        found = replies[0].detections if replies else ()
        total, hits, f1, boxes = 0.0, 0, (0, 0), 0
        for label in dict.fromkeys(one.label for one in (*item.boxes, *found)):
            right = [_corners(one) for one in item.boxes if one.label == label]
            said = [_corners(one) for one in found if one.label == label]
            ious = matched_ious(said, right)
            twice_hits, both = f1_at(said, right)
            total, hits, boxes = total + float(ious.sum()), hits + int((ious >= REC_IOU).sum()), boxes + len(right)
            f1 = f1[0] + twice_hits, f1[1] + both
        return {
            f"{prefix}_mean_iou": (total, boxes),
            f"{prefix}_found_at_iou_50": (hits, boxes),
            f"{prefix}_f1_at_iou_50": f1,
        }

    return score


def referring(name: str) -> Score:
    """Whether the first box found fits the expected one."""

    def score(item: Item, replies: Sequence[Reply]) -> Scores:
        found = replies[0].detections if replies else ()
        return {name: (float(bool(found) and rec_hit(_corners(found[0]), _corners(item.boxes[0]))), 1)}

    return score


def pope(prefix: str) -> Score:
    """POPE's five figures; a failed item counts as the wrong answer."""

    def score(item: Item, replies: Sequence[Reply]) -> Scores:
        (right,) = item.answers
        said = pope_answer(replies[0].text) if replies else ("no" if right == "yes" else "yes")
        return {f"{prefix}_{name}": counts for name, counts in pope_counts(said, right).items()}

    return score


def caption(prefix: str, synonyms: Mapping[str, str]) -> Score:
    """Exact match, and CHAIR of the objects in `synonyms` against those that the expected captions name.

    A picture of none of them counts too: any that is named there is invented. A failed item counts as a caption that
    names one thing, which is not there.
    """

    def score(item: Item, replies: Sequence[Reply]) -> Scores:
        said = replies[0].text if replies else ""
        scores = {f"{prefix}_exact": (float(exact_match(said, item.answers)), 1)}
        present: Collection[str] = {thing for answer in item.answers for thing in mentions(answer, synonyms)}
        counts = chair_counts(mentions(said, synonyms) if replies else [_INVENTED], present)
        return scores | {f"{prefix}_{name}": pair for name, pair in counts.items()}

    return score


def consistency(prefix: str) -> Score:
    """Agreement between the wordings of one question, and how many of them are answered right."""

    def score(item: Item, replies: Sequence[Reply]) -> Scores:
        pairs = len(item.prompts) * (len(item.prompts) - 1) // 2
        agreeing = agreeing_pairs([reply.text for reply in replies])[0]
        right = sum(exact_match(reply.text, item.answers) for reply in replies)
        return {f"{prefix}_agreement": (agreeing, pairs), f"{prefix}_exact": (right, len(item.prompts))}

    return score


def ranking(prefix: str, k: int) -> Score:
    """recall@1, recall@k and nDCG@k of the first ranking, where every answer is worth the same."""

    def score(item: Item, replies: Sequence[Reply]) -> Scores:
        ranked = replies[0].ranking if replies else ()
        return {
            f"{prefix}_recall_at_1": (recall_at(ranked, item.answers, 1), 1),
            f"{prefix}_recall_at_{k}": (recall_at(ranked, item.answers, k), 1),
            f"{prefix}_ndcg_at_{k}": (ndcg_at(ranked, dict.fromkeys(item.answers, 1.0), k), 1),
        }

    return score


def by_kind(scores: Mapping[str, Score]) -> Score:
    """Scores each item as its kind is scored."""
    return lambda item, replies: scores[item.kind](item, replies)


def _corners(detection: Detection) -> tuple[float, float, float, float]:
    box = detection.box
    return box.x_min, box.y_min, box.x_max, box.y_max
