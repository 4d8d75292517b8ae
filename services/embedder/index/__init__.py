"""Collections of vectors on LanceDB: kept, narrowed, searched, maintained."""
