"""Recipes: one file per experiment, each a function that returns a typed configuration."""
