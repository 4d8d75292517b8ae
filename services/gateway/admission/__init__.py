"""Admission: what the gateway takes on at once, whose turn it is, and what is refused."""
