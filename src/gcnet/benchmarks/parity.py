"""Nothing is reported before everybody has computed the same: outputs and gradients against float64."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from gcnet.benchmarks.cases import Case
from gcnet.benchmarks.peers import OURS, Contestant
from gcnet.benchmarks.published import as_published
from gcnet.benchmarks.workload import Inputs, build, call, inputs, result_names
from gcnet.ops.backend import BACKENDS, backend

#: Largest error of a block in float32, as a share of the norm of the exact result. Seen: 4e-8 to 6e-6; a wrong formula
#: gives 1e-3 at least.
FLOAT32 = 3e-5
#: The same for the gradients of the concatenation form: among its P * P pairs are some within rounding error of zero,
#: where the ReLU switches. Seen: up to 6e-5 at P = 6272.
CONCATENATION = 1e-3
#: The same in bfloat16, which rounds each value by up to 2**-9 = 0.002. Ours compute in float32 inside; seen: 0.003.
BFLOAT16 = 0.01
#: Others round every intermediate, and the gradient of the key is a difference of sums, where that adds up. Seen: 0.06.
BFLOAT16_OF_OTHERS = 0.2
#: Largest error of the output of a network in float32, and of its gradients: where a rounding error carries a ReLU
#: across zero, a gradient appears or vanishes. Seen: 5e-7 and 9e-4, and 5e-3 of a compiled network with mmcv's blocks.
NETWORK_OUTPUT, NETWORK_GRADIENT = 1e-5, 0.03
#: A gradient smaller than this share of the upstream gradient is zero by mathematics (the bias of the key cancels in
#: the softmax) and is judged against the upstream gradient instead of itself.
NULL = 1e-9
#: Bytes that the reference may take for one sample before the published form in float64 judges in its place.
_REFERENCE_LIMIT = 2**30


class ParityError(Exception):
    """A contestant that computes something else."""


def prepare(case: Case, device: str) -> tuple[Case, nn.Module, Inputs]:
    """What is checked of a case: blocks as they are timed, networks with two samples, in float32, norms not training.

    Gradients through fifty BatchNorms of two samples, or in half precision, are mostly rounding.
    """
    if case.op != "network":
        return case, build(case, device), inputs(case, device)[0]
    case = replace(case, shape=(2, *case.shape[1:]), dtype=torch.float32)
    return case, build(case, device).eval(), inputs(case, device)[0]


def exact(case: Case, ours: nn.Module, given: Inputs) -> dict[str, Tensor]:
    """Output and gradients by the reference in float64, by name.

    Blocks treat every sample by itself and are judged sample by sample, which bounds the memory.
    """
    judge = copy.deepcopy(ours).double()
    if case.op == "non_local" and _bytes_of_reference(case) > _REFERENCE_LIMIT:
        as_published(judge)
    size = given.x.shape[0] if case.op == "network" else 1
    parts = []
    with backend("reference"):
        for x, upstream in zip(given.x.split(size), given.upstream.split(size), strict=True):
            x = x.detach().double().requires_grad_(given.x.requires_grad)
            parts.append(call(judge, case, Inputs(x, upstream.double())))
    columns = dict(zip(result_names(judge, case), zip(*parts, strict=True), strict=True))
    return {
        name: torch.cat(values) if name in ("output", "input") else torch.stack(values).sum(0)
        for name, values in columns.items()
    }


def check(case: Case, contestant: Contestant, truth: dict[str, Tensor], given: Inputs) -> float:
    """Compare one contestant with the exact results; its largest error as a share of the norm.

    Raises:
        ParityError: an error beyond the tolerance.
    """
    with contestant.scope():
        results = call(contestant.module, case, given)
    worst = 0.0
    for name, value in zip(result_names(contestant.module, case), results, strict=True):
        name = name.removeprefix("_orig_mod.")
        error = _error(truth[contestant.names.get(name, name)], value, given.upstream)
        tolerance = _tolerance(case, contestant.name, name)
        if not error <= tolerance:
            what = name if name == "output" else f"gradient of {name}"
            raise ParityError(
                f"{case.name}: {contestant.name} computes something else: error {error:.2g} of its {what}, "
                f"tolerance {tolerance:.2g} in {str(case.dtype).removeprefix('torch.')}. Nothing is reported."
            )
        worst = max(worst, error)
    return worst


def _tolerance(case: Case, contestant: str, result: str) -> float:
    if case.op == "network":
        return NETWORK_OUTPUT if result == "output" else NETWORK_GRADIENT
    if case.dtype == torch.bfloat16:
        return BFLOAT16 if contestant in (OURS, *BACKENDS) else BFLOAT16_OF_OTHERS
    return CONCATENATION if case.options.get("pairwise") == "concatenation" and result != "output" else FLOAT32


def _error(expected: Tensor, found: Tensor, upstream: Tensor) -> float:
    scale, reach = float(expected.norm()), float(upstream.norm(dtype=torch.float64))
    difference = float((found.double().reshape(expected.shape) - expected).norm())
    return difference / (scale if scale > NULL * reach else reach)


def _bytes_of_reference(case: Case) -> int:
    """What the reference of the non-local block lays out: pairs of positions with their features, in float64."""
    hidden: int = case.options["hidden"]
    return 8 * case.positions**2 * hidden * (2 if case.options.get("pairwise") == "concatenation" else 1)
