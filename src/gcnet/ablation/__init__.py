"""Fair comparisons of blocks: tables of variants, each trained with the same seeds, recorded and reported."""
