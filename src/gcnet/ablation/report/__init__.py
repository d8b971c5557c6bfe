"""Reports of ablations: the paper's table beside the measured one, and what the data support."""
