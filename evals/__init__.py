"""How good answers are: metrics, suites of questions, and the runner that asks a server over gRPC."""
