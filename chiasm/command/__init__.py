"""The `chiasm` command."""

import os

# Read when gRPC is imported. Its core would write lines of its own, such as a server's farewell, to the user's stderr.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
