"""Collections of vectors on LanceDB: kept, narrowed, searched, maintained."""

import os

# LanceDB's own log goes to stderr past ours, and its warnings name paths. Read once, when it is imported.
os.environ.setdefault("LANCEDB_LOG", "error")
