"""Embedders behind the gateway: vectors, search and classification, passed on to them."""
