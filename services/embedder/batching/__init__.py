"""Items of many callers, together through the models."""
