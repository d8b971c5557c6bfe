"""Context scenes: data made from a seed, for all four tasks."""
