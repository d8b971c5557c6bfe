"""The attention of a network on a local web page."""
