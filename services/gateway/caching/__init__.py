"""Answers that need not be asked for again."""
