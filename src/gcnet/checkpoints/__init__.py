"""Checkpoint files: read anything without executing it, write whole files only."""
