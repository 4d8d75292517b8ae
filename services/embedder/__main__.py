"""`python -m services.embedder`: serve embedding models. Settings: `config.py`."""

from services.embedder.config import EmbedderSettings
from services.embedder.models.freed_memory import keep_freed_memory
from services.embedder.service import EmbedderService
from services.runtime.server import main

if __name__ == "__main__":
    settings = EmbedderSettings.load()
    keep_freed_memory()
    main(lambda: EmbedderService(settings), settings)
