"""``gcnet data check``: everything in a data set read once, and all that is wrong with it listed."""
