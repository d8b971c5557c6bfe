"""DDP and FSDP2 on two gloo ranks: the blocks apply, learn, and are saved."""

from __future__ import annotations

import copy
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.multiprocessing as mp
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

import gcnet

from .nets import Bottleneck, image, modified, resnet

RANKS = 2

pytestmark = pytest.mark.skipif(not dist.is_available() or not dist.is_gloo_available(), reason="needs gloo")


def _model() -> nn.Module:
    """Eval mode, so that two halves of a batch give the gradients of the whole."""
    torch.manual_seed(0)
    return modified(resnet(layers=(1, 1, 1, 1)), stages=("c3",))


def _start(rank: int, work: Callable[[int, str], None], port: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=RANKS)
    try:
        work(rank, folder)
    finally:
        dist.destroy_process_group()


def on_two_ranks(work: Callable[[int, str], None], folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.start_processes(_start, args=(work, port, str(folder)), nprocs=RANKS, start_method="spawn")


def _expected() -> dict[str, torch.Tensor]:
    model = _model()
    model(image()).square().mean().backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def _ddp(rank: int, folder: str) -> None:
    model = DistributedDataParallel(_model())
    model(image()[rank : rank + 1]).square().mean().backward()
    expected = _expected()
    for name, parameter in model.module.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-5, msg=name)
    for action in (gcnet.remove, lambda m: gcnet.insert(m, gcnet.SimplifiedNonLocal.spec(), stages="c4")):
        with pytest.raises(RuntimeError, match="DistributedDataParallel"):
            action(model)
    assert len(gcnet.status(model)) == 1
    names = [name for name, _ in gcnet.added_parameters(model, named=True)]
    assert names == [name for name, _ in gcnet.added_parameters(model.module, named=True)]
    base = copy.deepcopy(model.module)
    gcnet.remove(base)
    with torch.no_grad(), gcnet.disabled(model):
        assert torch.equal(model(image()), base(image()))


def _shard(model: nn.Module) -> nn.Module:
    mesh = init_device_mesh("cpu", (RANKS,))
    for module in list(model.modules()):
        if isinstance(module, Bottleneck):
            fully_shard(module, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def _fsdp(rank: int, folder: str) -> None:
    plain = _model()
    with torch.no_grad():
        expected_output = plain(image())
    model = _shard(_model())
    host = model.layer2[0]
    assert isinstance(host, FSDPModule)
    assert all(isinstance(parameter, DTensor) for parameter in gcnet.added_parameters(model))
    with torch.no_grad():
        torch.testing.assert_close(model(image()), expected_output)
        with gcnet.disabled(model):
            assert not torch.allclose(model(image()), expected_output)
    model(image()[rank : rank + 1]).square().mean().backward()
    gradients = _expected()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad.full_tensor(), gradients[name], rtol=1e-4, atol=1e-5, msg=name)
    for action in (gcnet.remove, lambda m: gcnet.plan(m, gcnet.SimplifiedNonLocal.spec(), stages="c4")):
        with pytest.raises(RuntimeError, match="FSDP"):
            action(model)
    assert [block.path for block in gcnet.status(model)] == ["layer2.0.context_block"]

    dcp.save({"model": model.state_dict()}, checkpoint_id=folder)
    other = _model()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other = _shard(other)
    state = {"model": other.state_dict()}
    assert set(state["model"]) == set(plain.state_dict())
    dcp.load(state, checkpoint_id=folder)
    other.load_state_dict(state["model"])
    with torch.no_grad():
        torch.testing.assert_close(other(image()), expected_output)


def _both(rank: int, folder: str) -> None:
    _ddp(rank, folder)
    _fsdp(rank, folder)


def test_ddp_and_fsdp2_with_distributed_checkpoints(tmp_path: Path) -> None:
    on_two_ranks(_both, tmp_path)
