"""Checkpoints: reading them safely, converting them, saving models with what it takes to rebuild them."""
