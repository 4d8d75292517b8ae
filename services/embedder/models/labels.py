"""The sentence into which a label is put before it is compared with a picture."""

from transformers import PreTrainedConfig

from services.runtime.config import BadSetting

_USUAL = "This is a photo of {}."
"""As in transformers' zero-shot pipeline: SigLIP and CLIP learned from captions, not from single words."""


def label_template(config: PreTrainedConfig) -> str:
    """`label_template` of the checkpoint's config.json, or the usual one.

    Raises BadSetting where it does not hold `{}` once.
    """
    template = getattr(config, "label_template", _USUAL)
    if template.count("{}") != 1:
        raise BadSetting("models", f"label_template {template!r} does not hold {{}} once")
    return template
