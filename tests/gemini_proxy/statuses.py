"""What an error carries on the wire."""

from google.rpc import error_details_pb2

from services.runtime.errors import ChiasmError, to_status


def details(error: ChiasmError) -> dict[str, object]:
    """The status's details by the name of their type."""
    found = {}
    for detail in to_status(error).details:
        message = getattr(error_details_pb2, detail.TypeName().rpartition(".")[2])()
        assert detail.Unpack(message)
        found[type(message).__name__] = message
    return found
