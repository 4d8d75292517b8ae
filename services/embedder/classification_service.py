"""ClassificationService's RPC: protos in, protos out."""

import asyncio

import grpc

from chiasm.v1 import classification_pb2, classification_pb2_grpc, usage_pb2
from services.embedder.classifying import Classified, Classifier, LabelMode, can_classify, check_template
from services.embedder.config import EmbedderSettings
from services.embedder.convert import media_from_proto
from services.embedder.models.served import ServedModels
from services.runtime.deadline import remaining_s, within
from services.runtime.requests import check_classify, name_request

_MODES = {
    classification_pb2.LABEL_MODE_INDEPENDENT: LabelMode.INDEPENDENT,
    classification_pb2.LABEL_MODE_EXCLUSIVE: LabelMode.EXCLUSIVE,
}


class ClassificationServer(classification_pb2_grpc.ClassificationServiceServicer):
    """What it is given is the service's."""

    def __init__(self, settings: EmbedderSettings, models: ServedModels, classifier: Classifier) -> None:
        self._settings = settings
        self._models = models
        self._classifier = classifier

    async def Classify(
        self, request: classification_pb2.ClassifyRequest, context: grpc.aio.ServicerContext
    ) -> classification_pb2.ClassifyResponse:
        seconds = remaining_s(context, self._settings.default_timeout_s, self._settings.max_timeout_s)
        check_classify(request, max_labels=self._settings.max_items - 1)
        check_template(request.template)
        served = self._models.choose(request.model, "model", fit=lambda model: can_classify(model.facts))
        name_request(request)
        deadline = asyncio.get_running_loop().time() + seconds
        async with within(seconds):
            classified = await self._classifier.classify(
                served,
                media_from_proto(request.image, "image"),
                list(request.labels),
                request.template,
                _MODES.get(request.mode),
                deadline=deadline,
            )
        return _to_proto(classified, served.name, served.model.facts.revision, request.request_id)


def _to_proto(
    classified: Classified, model: str, revision: str, request_id: str
) -> classification_pb2.ClassifyResponse:
    return classification_pb2.ClassifyResponse(
        scores=[
            classification_pb2.LabelScore(label=score.label, probability=score.probability, similarity=score.similarity)
            for score in classified.scores
        ],
        model=model,
        revision=revision,
        mode=next(proto for proto, mode in _MODES.items() if mode is classified.mode),
        usage=usage_pb2.Usage(input_tokens=classified.tokens, media_input_tokens=classified.media_tokens),
        request_id=request_id,
    )
