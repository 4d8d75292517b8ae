"""Public data sets in the formats they are published in, read into items."""
