"""PaliGemma served by vLLM."""
