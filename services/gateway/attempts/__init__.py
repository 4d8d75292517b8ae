"""Attempts at an answer: fallback, retries, cascade and hedging, and streams that always end."""
