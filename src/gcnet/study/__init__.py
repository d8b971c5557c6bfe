"""Verbs that look into a trained network: audit, attend, collapse."""
