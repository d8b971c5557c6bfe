"""Distances over all pairs by brute force in float64, the judge of the statistics."""

import math

import torch
from torch.nn.functional import cosine_similarity


def pairs_cosine(v):
    """Pairs with a vector of zeros are NaN and left out."""
    v = v.double()
    return ((1 - cosine_similarity(v[:, :, None], v[:, None], dim=-1, eps=0)) / 2).flatten(1).nanmean(1)


def pairs_divergence(p):
    """The formula of the paper, with 0 log 0 = 0."""
    found = torch.zeros(len(p), dtype=torch.float64)
    for n, rows in enumerate(p.double().tolist()):
        for a in rows:
            for b in rows:
                for x, y in zip(a, b, strict=True):
                    found[n] += (x * math.log(2 * x / (x + y)) if x else 0) / 2
                    found[n] += (y * math.log(2 * y / (x + y)) if y else 0) / 2
    return found / p.shape[1] ** 2
