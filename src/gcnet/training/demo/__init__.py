"""``gcnet demo``: the same small network with and without context, on context scenes."""
