"""The books that all replicas share: quotas, budgets and the ledger."""
