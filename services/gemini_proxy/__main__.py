"""`python -m services.gemini_proxy`: serve Gemini. Settings: `config.py`."""

from services.gemini_proxy.config import GeminiSettings
from services.gemini_proxy.service import GeminiService
from services.runtime.server import main

if __name__ == "__main__":
    settings = GeminiSettings.load()
    main(lambda: GeminiService(settings), settings)
