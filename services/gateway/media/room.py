"""How many bytes the media of one request may have."""

from services.gateway.media.failures import too_large


class Room:
    """What is left for all media of a request together.

    Args:
        max_media_bytes: most bytes of one of them.
        max_request_bytes: most bytes of all that are loaded.
    """

    def __init__(self, max_media_bytes: int, max_request_bytes: int) -> None:
        self._max_media_bytes = max_media_bytes
        self._max_request_bytes = max_request_bytes
        self._taken = 0

    def take(self, held: int, more: int, field: str) -> None:
        """Makes room for `more` bytes of a media that `held` so many. Raises InvalidArgument where there is none."""
        if held + more > self._max_media_bytes:
            raise too_large("the media", self._max_media_bytes, field)
        self._taken += more
        if self._taken > self._max_request_bytes:
            raise too_large("the request, with the media that it names,", self._max_request_bytes, field)
