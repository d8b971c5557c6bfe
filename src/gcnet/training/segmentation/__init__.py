"""Semantic segmentation: a label per pixel."""
