"""The least time a PaliGemma 2 can take on a GPU, from its shape and the GPU's data sheet.

Compute bounds the prompts: 2 floating-point operations a weight and token, and for attention 4 an entry of the
(tokens x tokens) matrix and channel. Memory bounds the answers: each step reads every weight of the text model once
and the keys and values of all requests (Pope et al., "Efficiently Scaling Transformer Inference", arXiv 2211.05102).
"""

from dataclasses import dataclass

BYTES = 2  # bfloat16


@dataclass(frozen=True)
class Peak:
    """Dense bfloat16 operations and bytes of HBM, each a second."""

    flops: float
    bandwidth: float


# NVIDIA's data sheets; without sparsity.
PEAKS = {
    "NVIDIA A100-SXM4-40GB": Peak(312e12, 1.555e12),
    "NVIDIA A100-SXM4-80GB": Peak(312e12, 2.039e12),
    "NVIDIA A100 80GB PCIe": Peak(312e12, 1.935e12),
    "NVIDIA L40S": Peak(362e12, 0.864e12),
    "NVIDIA H100 PCIe": Peak(756e12, 2.0e12),
    "NVIDIA H100 80GB HBM3": Peak(989e12, 3.35e12),
    "NVIDIA H200": Peak(989e12, 4.8e12),
}


def peak_of(device: str) -> Peak:
    """By `torch.cuda.get_device_name`. Raises ValueError for a device whose data sheet is not in the table."""
    if device not in PEAKS:
        raise ValueError(f"{device!r} is not in bench/roofline.py's PEAKS; add its data sheet's figures")
    return PEAKS[device]


@dataclass(frozen=True)
class Shape:
    """PaliGemma 2's sizes; the defaults are the 3B model's at 448 pixels."""

    image_size: int = 448
    patch: int = 14
    vision_width: int = 1152
    vision_mlp: int = 4304
    vision_layers: int = 27
    vision_heads: int = 16
    width: int = 2304
    mlp: int = 9216
    layers: int = 26
    heads: int = 8
    kv_heads: int = 4
    head: int = 256
    vocabulary: int = 257_216

    @property
    def image_tokens(self) -> int:
        return (self.image_size // self.patch) ** 2

    @property
    def text_weights(self) -> int:
        """Of the layers; the embedding counts once more, as the last projection."""
        attention = self.width * self.head * 2 * (self.heads + self.kv_heads)
        return self.layers * (attention + 3 * self.width * self.mlp)

    @property
    def vision_weights(self) -> int:
        layer = 4 * self.vision_width**2 + 2 * self.vision_width * self.vision_mlp
        return self.vision_layers * layer + self.vision_width * (3 * self.patch**2 + self.width)

    def prefill_flops(self, tokens: int) -> float:
        """Of one prompt of `tokens` tokens, its image among them; one position is projected to the vocabulary."""
        image = self.image_tokens
        vision = 2 * self.vision_weights * image + 4 * self.vision_layers * self.vision_width * image**2
        text = 2 * self.text_weights * tokens + 4 * self.layers * self.heads * self.head * tokens**2
        return vision + text + 2 * self.vocabulary * self.width

    def step_bytes(self, requests: int, context: float) -> float:
        """Read to write one token for each of `requests` requests of `context` tokens each."""
        cache = 2 * self.layers * self.kv_heads * self.head * context
        return BYTES * (self.text_weights + self.vocabulary * self.width + requests * cache)

    def least_seconds(self, peak: Peak, requests: int, prompt: int, answer: int) -> float:
        """For `requests` at once, each of `prompt` tokens and with an answer of `answer` tokens."""
        prefill = requests * self.prefill_flops(prompt) / peak.flops
        decode = (answer - 1) * self.step_bytes(requests, prompt + answer / 2) / peak.bandwidth
        return prefill + decode
