"""What was refused."""

from opentelemetry import metrics

_refused = metrics.get_meter("chiasm.gateway").create_counter(
    "chiasm.gateway.admission.refused",
    unit="{call}",
    description="Calls refused at the gate, by what there was no room for.",
)


def refused(why: str) -> None:
    _refused.add(1, {"chiasm.gateway.admission.refusal": why})
