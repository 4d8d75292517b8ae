"""transformers' answers: float32 (unless told otherwise), greedy, one by one.

For Gemma 2 with two corrections, after big_vision, which trained PaliGemma 2: no layer has a sliding window, and the
last logits are soft-capped.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from transformers import AutoProcessor, PaliGemmaConfig, PaliGemmaForConditionalGeneration

from tests.paligemma.parity.questions import MAX_TOKENS, Answer, Question


class Reference:
    """A checkpoint in transformers."""

    def __init__(self, model: Path, *, dtype: torch.dtype = torch.float32, device: str = "cpu") -> None:
        config = PaliGemmaConfig.from_pretrained(model)
        text = config.text_config
        self._final_cap: float | None = getattr(text, "final_logit_softcapping", None)
        if getattr(text, "layer_types", None):
            # As big_vision, which trained PaliGemma 2 without windows (services/paligemma/exact_model.py).
            # transformers cuts the answer's view to the window, though not the prompt's.
            text.layer_types = ["full_attention"] * len(text.layer_types)
        self._processor = AutoProcessor.from_pretrained(model)
        # Gemma 2's soft-capping of attention is ignored by transformers' sdpa path.
        self._network = PaliGemmaForConditionalGeneration.from_pretrained(
            model, config=config, dtype=dtype, attn_implementation="eager"
        ).to(device)
        self.image_size: int = config.vision_config.image_size

    def answers(self, asked: Iterable[Question]) -> list[Answer]:
        return [self._answer(question) for question in asked]

    @torch.inference_mode()
    def _answer(self, question: Question) -> Answer:
        inputs = self._processor(images=[question.image], text=[f"<image>{question.text}"])
        inputs.pop("labels", None)
        inputs = inputs.convert_to_tensors("pt").to(self._network.device, self._network.dtype)
        out = self._network.generate(
            **inputs, max_new_tokens=MAX_TOKENS, do_sample=False, output_logits=True, return_dict_in_generate=True
        )
        tokens = out.sequences[0, inputs["input_ids"].shape[1] :].tolist()
        logprobs = [
            self._capped(step[0]).log_softmax(-1)[token].item() for step, token in zip(out.logits, tokens, strict=True)
        ]
        return Answer(tokens, logprobs)

    def _capped(self, logits: torch.Tensor) -> torch.Tensor:
        """Gemma 2 caps its last logits softly, in big_vision as in vLLM; transformers' PaliGemma leaves that out."""
        logits = logits.float()
        return logits if self._final_cap is None else self._final_cap * torch.tanh(logits / self._final_cap)
