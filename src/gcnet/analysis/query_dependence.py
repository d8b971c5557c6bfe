"""How much the positions of a block differ: the statistics of GCNet, Cao et al., arXiv:1904.11492, section 3.2.

Both average a distance over all P² ordered pairs of positions of one image, a position with itself included. They are 0
where all positions are alike. Everything accumulates in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["CosineDistance", "Estimate", "cosine_distance", "estimate_jensen_shannon", "jensen_shannon"]

#: Rows of a map by their indices [Q]: [..., Q, K].
Rows = Callable[[Tensor], Tensor]

#: Numbers that are converted to float64 at a time.
CHUNK = 2**22

#: Pairs drawn by default, all up to 64 positions: a standard error of at most log(2) / 2 / sqrt(2048) = 0.008.
PAIRS = 2048


def cosine_distance(v: Tensor) -> Tensor:
    """Average cosine distance of the vectors of every sample, equation 2: mean over pairs of (1 - cos(v_i, v_j)) / 2.

    The mean of all cosines is the squared norm of the mean unit vector, so that this takes O(P d) time; it lies between
    0 and 1/2. A vector of zeros has no direction: pairs with one are left out, and a sample without any direction is
    NaN. :class:`CosineDistance` counts them, and takes vectors a few at a time.

    Args:
        v: [N, P, d], P vectors of d numbers per sample, of any floating-point type.

    Returns:
        [N] in float64.

    Raises:
        ValueError: another shape or type, infinite values or NaN.

    Example:
        >>> import torch
        >>> cosine_distance(torch.tensor([[[1.0, 0.0], [0.0, 2.0]], [[1.0, 0.0], [-3.0, 0.0]]]))
        tensor([0.2500, 0.5000], dtype=torch.float64)
    """
    _check_shape("v", v)
    found = CosineDistance("v")
    for rows in v.split(_rows_at_a_time(v), dim=1):
        found.add(rows)
    return found.distance()


class CosineDistance:
    """The same of vectors that come a few at a time: what is kept is their number and the sum of their directions.

    Args:
        name: what errors call the vectors.

    Attributes:
        count: [...], how many vectors had a direction so far.
        total: how many there were.

    Example:
        >>> import torch
        >>> from gcnet.analysis.query_dependence import CosineDistance, cosine_distance
        >>> v, found = torch.randn(2, 30, 8), CosineDistance()
        >>> for rows in v.split(7, dim=1):
        ...     found.add(rows)
        >>> torch.allclose(found.distance(), cosine_distance(v)), found.count, found.total
        (True, tensor([30, 30]), 30)
    """

    def __init__(self, name: str = "rows") -> None:
        self.name = name
        self.count = torch.zeros((), dtype=torch.int64)
        self.total = 0
        self._sum = torch.zeros((), dtype=torch.float64)

    @torch.no_grad()
    def add(self, rows: Tensor) -> None:
        """Count in the vectors ``rows`` [..., Q, d].

        Raises:
            ValueError: infinite values or NaN.
        """
        largest = rows.abs().amax(-1).double()
        _check_finite(self.name, largest)
        directed = largest > 0
        scaled = rows.double() / largest.where(directed, 1.0).unsqueeze(-1)  # squares neither overflow nor vanish
        weights = torch.linalg.vector_norm(scaled, dim=-1).where(directed, 1.0).reciprocal()
        self._sum = self._sum.to(rows.device) + (weights.unsqueeze(-2) @ scaled).squeeze(-2)
        self.count = self.count.to(rows.device) + directed.sum(-1)
        self.total += rows.shape[-2]

    def distance(self) -> Tensor:
        """The average distance [...]; NaN where no vector had a direction."""
        mean = self._sum / self.count.unsqueeze(-1)
        return ((1 - mean.square().sum(-1)) / 2).clamp_min(0).where(self.count > 0, torch.nan)


class Estimate(NamedTuple):
    """An average over pairs, and its standard error: 0 where all pairs were taken.

    Attributes:
        mean: [...] in float64.
        error: the same shape; the error that comes from drawing pairs.
    """

    mean: Tensor
    error: Tensor


def jensen_shannon(p: Tensor, *, pairs: int | None = PAIRS, generator: torch.Generator | None = None) -> Tensor:
    """Average Jensen-Shannon divergence of the distributions of every sample, in nats.

    Mean over pairs of 1/2 sum_k [p_ik log(2 p_ik / (p_ik + p_jk)) + p_jk log(2 p_jk / (p_ik + p_jk))]; it lies between
    0 and log 2. Dot product and concatenation have no such rows, and no divergence in the paper.

    Args:
        p: [N, P, K], P distributions over K keys per sample; rows are normalised to sum to 1 in float64.
        pairs: take all pairs where P (P - 1) / 2 is no larger, otherwise draw so many, which is unbiased;
            :func:`estimate_jensen_shannon` tells the error. None always takes all, in O(P² K) time.
        generator: on the CPU, that draws them; by default a new one, so that calls repeat.

    Returns:
        [N] in float64; NaN without positions.

    Raises:
        ValueError: another shape or type, infinite values or NaN, negative values, rows that do not sum to 1.

    Example:
        >>> import torch
        >>> jensen_shannon(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]))  # half of the pairs differ, by log 2
        tensor([0.3466], dtype=torch.float64)
    """
    _check_shape("p", p)
    for rows in p.split(_rows_at_a_time(p), dim=1):
        _distributions("p", rows)
    if not p.shape[1]:
        return p.new_full(p.shape[:1], torch.nan, dtype=torch.float64)
    return estimate_jensen_shannon(
        lambda queries: p[:, queries], p.shape[1], pairs=pairs, generator=generator, name="p"
    ).mean


@torch.no_grad()
def estimate_jensen_shannon(
    rows: Rows,
    positions: int,
    *,
    pairs: int | None = PAIRS,
    generator: torch.Generator | None = None,
    name: str = "rows",
) -> Estimate:
    """The divergence of a map that is never laid out, with the standard error of drawing pairs.

    Args:
        rows: the rows [..., Q, K] of indices [Q] between 0 and ``positions``, such as
            :meth:`gcnet.analysis.capture.Captured.rows`. Only rows that are asked for are checked.
        positions: P, at least 1.
        pairs: as in :func:`jensen_shannon`.
        generator: likewise.
        name: what errors call the rows.

    Returns:
        mean and standard error, [...] each.

    Raises:
        ValueError: fewer than 1 position or 2 pairs, rows that are no distributions.

    Example:
        >>> import torch
        >>> p = torch.randn(2, 300, 50).softmax(-1)
        >>> mean, error = estimate_jensen_shannon(lambda queries: p[:, queries], 300, pairs=1000)
        >>> exact = jensen_shannon(p, pairs=None)
        >>> bool(((mean - exact).abs() < 4 * error).all())
        True
    """
    if positions < 1:
        raise ValueError(f"positions={positions} must be at least 1")
    if pairs is not None and pairs < 2:
        raise ValueError(f"pairs={pairs} must be at least 2, or None for all")
    everything = torch.arange(positions)
    if pairs is None or positions * (positions - 1) // 2 <= pairs:
        mean = _all_pairs(_distributions(name, rows(everything)))
        return Estimate(mean, torch.zeros_like(mean))
    generator = generator or torch.Generator().manual_seed(0)
    first = torch.randint(positions, (pairs,), generator=generator)
    second = torch.randint(positions - 1, (pairs,), generator=generator)
    second += second >= first
    width = max(1, rows(everything[:1]).numel())
    if positions * width <= CHUNK:
        whole = _distributions(name, rows(everything))
        entropy = _entropy(whole)

        def take(queries: Tensor) -> tuple[Tensor, Tensor]:
            return whole[..., queries, :], entropy[..., queries]
    else:

        def take(queries: Tensor) -> tuple[Tensor, Tensor]:
            p = _distributions(name, rows(queries))
            return p, _entropy(p)

    size = max(1, CHUNK // width)
    parts = zip(first.split(size), second.split(size), strict=True)
    found = torch.cat([_divergence(*take(i), *take(j)) for i, j in parts], dim=-1)
    share = (positions - 1) / positions  # pairs of a position with itself are 0
    return Estimate(share * found.mean(-1), share * found.std(-1) / pairs**0.5)


def _all_pairs(p: Tensor) -> Tensor:
    """Mean over the ordered pairs of [..., P, K]: every position with that ``shift`` behind it, for half the shifts."""
    positions = p.shape[-2]
    total = p.new_zeros(p.shape[:-2])
    entropy = _entropy(p)
    for shift in range(1, positions // 2 + 1):
        twice = 1 if 2 * shift == positions else 2
        total += twice * _divergence(p, entropy, p.roll(shift, -2), entropy.roll(shift, -1)).sum(-1)
    return total / positions**2


def _divergence(p: Tensor, entropy_p: Tensor, q: Tensor, entropy_q: Tensor) -> Tensor:
    """Entropy of the mean less the mean entropy."""
    return (_entropy((p + q) / 2) - (entropy_p + entropy_q) / 2).clamp_min(0)


def _entropy(p: Tensor) -> Tensor:
    return torch.special.entr(p).sum(-1)


def _distributions(name: str, rows: Tensor) -> Tensor:
    """Rows in float64 that sum to 1, for rows that do so as far as their type can tell."""
    if not rows.is_floating_point():
        raise ValueError(f"{name} is {rows.dtype}; it must be of a floating-point type")
    exact = rows.double()
    sums = exact.sum(-1, keepdim=True)
    _check_finite(name, sums)
    if (rows < 0).any():
        raise ValueError(f"{name} has negative values, such as {rows.min():.3g}; its rows must be distributions")
    off = (sums - 1).abs()
    if (off > max(1e-5, 4 * torch.finfo(rows.dtype).eps)).any():
        worst = sums.flatten()[off.argmax()]
        raise ValueError(f"{name} has a row that sums to {worst:.6g}; its rows must be distributions that sum to 1")
    return exact / sums


def _check_shape(name: str, values: Tensor) -> None:
    if values.dim() != 3 or not values.shape[-1]:
        raise ValueError(f"{name} of shape {tuple(values.shape)} must be [N, P, {'d' if name == 'v' else 'K'}]")
    if not values.is_floating_point():
        raise ValueError(f"{name} is {values.dtype}; it must be of a floating-point type")


def _check_finite(name: str, values: Tensor) -> None:
    if not values.isfinite().all():
        raise ValueError(f"{name} has infinite values or NaN")


def _rows_at_a_time(values: Tensor) -> int:
    return max(1, CHUNK // max(1, values.shape[0] * values.shape[-1]))
