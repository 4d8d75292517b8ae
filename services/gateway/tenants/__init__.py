"""Tenants: who calls, what they may, and the record of it."""
