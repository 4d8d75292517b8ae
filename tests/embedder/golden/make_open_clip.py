"""Makes the OpenCLIP checkpoint beside this file, and the vectors that OpenCLIP itself gives with it.

Run where `open_clip_torch` (3.3.0 made what is here), torchvision and Pillow are installed:

    python tests/embedder/golden/make_open_clip.py

`open_clip` is what OpenCLIP saves for the hub, `pictures` are what was embedded, `vectors.json` holds the texts and all
vectors, with the checkpoint's own settings and with `OTHERWISE`'s.
"""

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from open_clip import SimpleTokenizer
from open_clip.model import CLIP
from open_clip.push_to_hf_hub import save_config_for_hf
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import save_file

HERE = Path(__file__).parent
SIDE, CONTEXT = 32, 24
MERGES = ["r e", "re d</w>", "c i", "ci r", "cir c", "circ l", "circl e</w>", "s t", "a r</w>", "st ar</w>", "' t</w>"]
TOWER = {"layers": 2, "width": 32, "mlp_ratio": 2.0}
OTHERWISE = {"quick_gelu": False, "resize_mode": "squash", "interpolation": "bilinear"}
TEXTS = [
    "a red circle",
    "A  RED\tStar",
    "star",
    "don\u2019t! it\u2019s 3 circles & a caf\u00e9",
    "r&amp;amp;d &eacute;",
    "3 < 4 &amp;amp; 5",
    "\uff52\uff45\uff44 voil\u00c3\u00a0",
]
SHAPES = [(32, 32), (70, 64), (64, 70), (66, 64), (45, 31), (20, 90)]


def main() -> None:
    torch.manual_seed(5)
    tokenizer = build_tokenizer()
    described = {
        "embed_dim": 16,
        "quick_gelu": True,
        "vision_cfg": {**TOWER, "head_width": 16, "patch_size": 8, "image_size": SIDE},
        "text_cfg": {**TOWER, "heads": 2, "context_length": CONTEXT, "vocab_size": tokenizer.vocab_size},
    }
    model = CLIP(**described).eval()
    for parameter in model.parameters():
        if parameter.dim() > 0:
            torch.nn.init.normal_(parameter, std=0.15)
    pictures = [random_picture(seed, *shape) for seed, shape in enumerate(SHAPES)]

    folder = HERE / "open_clip"
    folder.mkdir(exist_ok=True)
    model.visual.image_mean, model.visual.image_std = [0.48, 0.46, 0.41], [0.27, 0.26, 0.28]
    own = {"mean": model.visual.image_mean, "std": model.visual.image_std}
    save_config_for_hf(model, folder / "open_clip_config.json", model_config=described)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    save_tokenizer(tokenizer, folder)
    (HERE / "pictures").mkdir(exist_ok=True)
    for number, picture in enumerate(pictures):
        picture.save(HERE / "pictures" / f"{number}.png")

    other = CLIP(**{**described, "quick_gelu": OTHERWISE["quick_gelu"]}).eval()
    other.load_state_dict(model.state_dict())
    changed = {name: OTHERWISE[name] for name in ("resize_mode", "interpolation")}
    vectors = {
        "texts": TEXTS,
        "logit_scale": model.logit_scale.exp().item(),
        "own": embedded(model, tokenizer, pictures, own),
        "otherwise": embedded(other, tokenizer, pictures, own | changed),
    }
    (HERE / "vectors.json").write_text(json.dumps(vectors, indent=1) + "\n")


def build_tokenizer() -> SimpleTokenizer:
    """OpenCLIP's own, with few merges."""
    with tempfile.NamedTemporaryFile(suffix=".gz") as file:
        file.write(gzip.compress("\n".join(["#version: 0.2", *MERGES]).encode()))
        file.flush()
        return SimpleTokenizer(bpe_path=file.name, context_length=CONTEXT)


def save_tokenizer(tokenizer: SimpleTokenizer, folder: Path) -> None:
    """As OpenAI's stands on the hub: OpenCLIP's saves no files."""
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {names.get(token, token): index for token, index in tokenizer.encoder.items()}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES, ""]))


def random_picture(seed: int, width: int, height: int) -> Image.Image:
    """Coarse noise: smooth enough to show how a picture was resized, and small as a file."""
    noise = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.NEAREST)


@torch.no_grad()
def embedded(
    model: CLIP, tokenizer: SimpleTokenizer, pictures: list[Image.Image], preprocess_cfg: dict[str, Any]
) -> dict[str, list[list[float]]]:
    transform = image_transform_v2(PreprocessCfg(size=SIDE, **preprocess_cfg), is_train=False)
    return {
        "texts": model.encode_text(tokenizer(TEXTS), normalize=True).tolist(),
        "pictures": model.encode_image(torch.stack([transform(p) for p in pictures]), normalize=True).tolist(),
    }


if __name__ == "__main__":
    main()
