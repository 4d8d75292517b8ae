"""The field's metrics, as pure functions of what was said and what is right. Scores are 0 to 1."""
