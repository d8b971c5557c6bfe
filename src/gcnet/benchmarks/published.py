"""The blocks with the operations of their published code, in plain PyTorch, on maps of any rank.

Needs no other library; torch.compile gets this form, and it judges non-local blocks whose reference does not fit into
memory. The tests hold it to the reference.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gcnet.blocks import GlobalContext, NonLocal, SqueezeExcite


class PublishedGlobalContext(GlobalContext):
    """GC: a one-channel convolution, a softmax, a product with the map, two bottlenecks, two passes over the map."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, *spatial] to the same."""
        context = x.mean(dim=tuple(range(2, x.dim())), keepdim=True) if self.key is None else self._attend(x)
        y = x
        if self.scale is not None:
            factor = torch.sigmoid(_bottleneck(self.scale, context))
            y = y * (2 * factor if self.gate == "centred" else factor)
        if self.add is not None:
            y = y + _bottleneck(self.add, context)
        return y

    def _attend(self, x: Tensor) -> Tensor:
        weights = torch.softmax(_project(self.key, x).flatten(2), dim=2)  # [N, 1, P]
        context = torch.matmul(x.flatten(2), weights.transpose(1, 2))  # [N, C, 1]
        return context.unflatten(2, (1,) * (x.dim() - 2))


class PublishedSqueezeExcite(SqueezeExcite):
    """SE: an average, a bottleneck, a product with the map."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, *spatial] to the same."""
        context = x.mean(dim=tuple(range(2, x.dim())), keepdim=True)
        return x * torch.sigmoid(_bottleneck(self.scale, context))


class PublishedNonLocal(NonLocal):
    """NL with its attention map of P x P laid out, without sub-sampling and norm."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, *spatial] to the same."""
        query, key, value = (_project(layer, x).flatten(2) for layer in (self.query, self.key, self.value))
        positions = query.shape[2]
        if self.concat is not None:
            of_query, of_key = self.concat.weight.unflatten(1, (2, -1)).transpose(0, 1)  # each [1, d]
            weights = torch.relu((of_query @ query).transpose(1, 2) + of_key @ key) / positions
        else:
            logits = torch.matmul(query.transpose(1, 2), key)
            if self.pairwise == "dot_product":
                weights = logits / positions
            else:
                weights = torch.softmax(logits if self.scale is None else logits * self.scale, dim=2)
        context = torch.matmul(weights, value.transpose(1, 2)).transpose(1, 2)
        return x + _project(self.out, context.unflatten(2, x.shape[2:]))


_PUBLISHED: dict[type, type[nn.Module]] = {
    GlobalContext: PublishedGlobalContext,
    SqueezeExcite: PublishedSqueezeExcite,
    NonLocal: PublishedNonLocal,
}


def as_published(block: nn.Module) -> nn.Module:
    """Make ``block`` run the published operations, in place; its parameters and their names stay.

    Example:
        >>> import torch
        >>> from gcnet import GlobalContext
        >>> from gcnet.benchmarks.published import as_published
        >>> block, x = GlobalContext(64), torch.randn(2, 64, 7, 7)
        >>> y = block(x)
        >>> torch.allclose(as_published(block)(x), y)
        True
    """
    block.__class__ = _PUBLISHED[type(block)]
    return block


def _project(layer: nn.Module | None, x: Tensor) -> Tensor:
    """A linear layer as the 1x1 convolution that it is."""
    assert isinstance(layer, nn.Linear)
    convolution = (F.conv1d, F.conv2d, F.conv3d)[x.dim() - 3]
    return convolution(x, layer.weight.reshape(*layer.weight.shape, *(1,) * (x.dim() - 2)), layer.bias)


def _bottleneck(transform: nn.Module, context: Tensor) -> Tensor:
    """[N, C, 1, ...] to the same."""
    hidden = _project(transform.reduce, context)  # type: ignore[arg-type]
    if isinstance(transform.norm, nn.LayerNorm):
        hidden = transform.norm(hidden.flatten(1)).reshape(hidden.shape)
    return _project(transform.expand, torch.relu(hidden))  # type: ignore[arg-type]
