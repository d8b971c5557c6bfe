"""What the paper's tables are there to show, and whether the measured differences agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gcnet.ablation.report.differences import Difference, difference


@dataclass(frozen=True)
class Claim:
    """One statement about two variants.

    Attributes:
        text: in words.
        first: name of the variant that is better, or one of two that are alike.
        second: name of the other.
        alike: whether the paper finds no clear difference.
    """

    text: str
    first: str
    second: str
    alike: bool = False


#: The paper's table -> claims that it supports.
CLAIMS: Mapping[str, tuple[Claim, ...]] = {
    "block": (
        Claim("one NL block helps", "1-nl", "none"),
        Claim("one SNL block does as well as one NL block", "1-snl", "1-nl", alike=True),
        Claim("one GC block does as well as one SNL block", "1-gc", "1-snl", alike=True),
        Claim("GC blocks everywhere beat one", "gc", "1-gc"),
        Claim("GC blocks everywhere beat one NL block", "gc", "1-nl"),
    ),
    "position": (
        Claim("after the 1x1 convolution helps", "gc", "none"),
        Claim("after the addition does as well as after the 1x1 convolution", "after_add", "gc", alike=True),
    ),
    "stage": (
        Claim("c4 gains more than c3", "c4", "c3"),
        Claim("c5 gains more than c3", "c5", "c3"),
        Claim("all three stages beat c4 alone", "gc", "c4"),
    ),
    "bottleneck": (
        Claim("LayerNorm helps", "gc", "r16-relu"),
        Claim("ReLU alone changes little", "r16-relu", "r16", alike=True),
        Claim("without LayerNorm, a bottleneck costs accuracy", "no-ratio", "r16-relu"),
        Claim("with LayerNorm, a bottleneck does as well as none", "gc", "no-ratio", alike=True),
    ),
    "ratio": (
        Claim("a ratio of 4 beats one of 32", "r4", "r32"),
        Claim("a ratio of 4 beats one of 16", "r4", "gc"),
        Claim("a ratio of 16 beats one of 32", "gc", "r32"),
    ),
    "fusion": (
        Claim("with attention pooling, adding beats scaling", "gc", "att-scale"),
        Claim("with average pooling, adding beats scaling", "avg-add", "avg-scale"),
        Claim("added, attention pooling beats average pooling", "gc", "avg-add"),
        Claim("GC beats an SE-like block", "gc", "avg-scale"),
    ),
}


@dataclass(frozen=True)
class CheckedClaim:
    """A claim beside what was measured.

    Attributes:
        claim: of the paper.
        difference: first minus second; None if they share no seed.
        verdict: agrees, contradicts, differs (of two that the paper finds alike), not told apart, or not compared.
    """

    claim: Claim
    difference: Difference | None
    verdict: str


def check_claims(
    paper: str, scores: Mapping[str, Mapping[int, float]], *, level: float, lower_is_better: bool
) -> tuple[CheckedClaim, ...]:
    """Check the claims of a table whose variants were both measured, each with its own interval.

    Two that the paper finds alike differ by a supported difference, either way; without one they are not told apart
    here either, which does not prove them equal.

    Args:
        paper: name of the paper's table; empty for none.
        scores: variant -> seed -> score.
        level: of the intervals.
        lower_is_better: of the score.

    Example:
        >>> scores = {"r4": {0: 0.93, 1: 0.92, 2: 0.95}, "r32": {0: 0.90, 1: 0.91, 2: 0.92}}
        >>> found = check_claims("ratio", scores, level=0.95, lower_is_better=False)
        >>> [(each.claim.text, each.verdict) for each in found]
        [('a ratio of 4 beats one of 32', 'agrees')]
    """
    known = [claim for claim in CLAIMS.get(paper, ()) if claim.first in scores and claim.second in scores]
    found = [(claim, difference(claim.first, claim.second, scores, level=level)) for claim in known]
    return tuple(CheckedClaim(claim, each, _verdict(claim, each, lower_is_better)) for claim, each in found)


def _verdict(claim: Claim, found: Difference | None, lower_is_better: bool) -> str:
    if found is None:
        return "not compared"
    if not found.supported:
        return "not told apart"
    if claim.alike:
        return "differs"
    return "agrees" if (found.mean < 0) == lower_is_better else "contradicts"
