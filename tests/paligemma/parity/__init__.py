"""The served PaliGemma against transformers, token by token. `python -m tests.paligemma.parity`."""
