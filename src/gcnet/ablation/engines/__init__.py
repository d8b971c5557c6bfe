"""Where the runs of an ablation are trained: on this machine, or on a Ray cluster. Both tell the same events."""
