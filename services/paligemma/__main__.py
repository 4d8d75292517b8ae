"""`python -m services.paligemma`: serve one PaliGemma checkpoint. Settings: `config.py`."""

from services.paligemma.config import PaligemmaSettings
from services.paligemma.service import PaligemmaService
from services.runtime.server import main

if __name__ == "__main__":
    settings = PaligemmaSettings.load()
    main(lambda: PaligemmaService(settings), settings)
