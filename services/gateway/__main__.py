"""`python -m services.gateway`: serve the gateway. Settings: `config.py`."""

from services.gateway.config import GatewaySettings
from services.gateway.service import GatewayService
from services.runtime.server import main

if __name__ == "__main__":
    settings = GatewaySettings.load()
    main(lambda: GatewayService(settings), settings)
