"""Gemini behind exact rate limits and exact cost accounting."""
