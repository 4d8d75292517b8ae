"""The layer that makes attempts until one answers, and shows the caller one stream of them."""

from contextlib import aclosing

from services.gateway.answerer import Answerer, Ask, Events
from services.gateway.attempts.course import Course
from services.gateway.attempts.hedging import hedged
from services.gateway.attempts.means import Means
from services.gateway.attempts.route import ending
from services.gateway.attempts.telling import Telling

# Hedges that calls have earned and not used.
MOST_HEDGES = 10.0


class Attempts(Answerer):
    """Routes a call, falls back, retries and escalates. What shows nothing before its end may be
    hedged.

    A failed attempt that said nothing is invisible; one that said something is superseded. The stream ends with a
    whole answer's `finished`, or with the error that says most.
    """

    def __init__(self, means: Means) -> None:
        self._means = means

    async def events(self, ask: Ask) -> Events:
        policy = ask.policy.policy
        plan = self._means.router.plan(ask, policy)
        course, telling = Course(self._means, ask, policy, plan), Telling(ask)
        hedges = ask.whole and policy.hedging.share > 0
        if hedges:
            self._means.hedges.earn(policy.hedging.share, MOST_HEDGES)
        attempt = course.first()
        while attempt is not None:
            if hedges:
                after_s = self._means.times(attempt.candidate).quantile(policy.hedging.quantile)
                attempt = await hedged(attempt, course, after_s)
            else:
                async with aclosing(attempt.deltas()) as deltas:
                    async for delta in deltas:
                        for event in telling.says(attempt, delta):
                            yield event
            attempt = await course.after(attempt, delivered=telling.delivered)
        ask.standing.unsure = course.answer.unsure
        for event in telling.ends(course.answer, ending(course.answer, course.made, ask.arrived)):
            yield event
