"""Benchmarks as a part of the product: one registry of cases, one runner, results that compare inside one run."""
