"""Processes that are really killed, and several that train together."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch

pytest.importorskip("lightning")

from gcnet.training.run_folder import locked
from tests.training.test_run import assert_same, final
from tests.training.toy import toy_config, train

# A server that has imported everything and trained nothing: a killed process costs no more than its training.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.training.toy"])


def work(config, run, environment):
    os.environ.update(environment)
    os.setpgrp()
    train(config, run)


def in_process(config, run, environment=()):
    process = processes.Process(target=work, args=(config, run, dict(environment)))
    process.start()
    return process


def wait_for(condition, process):
    while process.is_alive() and not condition():
        time.sleep(0.002)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_again_and_again(tmp_path, workers):
    config = toy_config(tmp_path, epochs=6, workers=workers)
    expected = train(config)
    config, run = toy_config(tmp_path, epochs=6, workers=workers, save_minutes=0), tmp_path / "run"
    last = run / "checkpoints" / "last.ckpt"
    kills = 0
    for delay in (0.0, 0.01, 0.03, 0.06, 0.02):
        before = last.stat().st_mtime_ns if last.exists() else 0
        process = in_process(config, run)
        wait_for(lambda before=before: last.exists() and last.stat().st_mtime_ns > before, process)
        time.sleep(delay)
        if process.is_alive():
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        process.join()
        assert torch.load(last, weights_only=True)["state_dict"]
    assert kills >= 3
    if not (run / "results.json").exists():
        train(config, run)
    assert_same(run, expected)


def test_one_folder_is_not_trained_in_twice(tmp_path):
    config, run = toy_config(tmp_path, epochs=60), tmp_path / "run"
    process = in_process(config, run)
    wait_for(lambda: (run / "checkpoints" / "last.ckpt").exists(), process)
    with pytest.raises(ValueError, match="another process trains there"):
        train(config, run)
    os.killpg(process.pid, signal.SIGKILL)
    process.join()
    with locked(run):
        pass


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def ranks(world):
    port = str(free_port())
    for rank in range(world):
        yield {
            "TORCHELASTIC_RUN_ID": "test",
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(world),
            "LOCAL_WORLD_SIZE": str(world),
            "GROUP_RANK": "0",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }


def test_two_processes_train_as_one(tmp_path):
    options = {"norm": "fixed", "augment": False, "dropout": 0.0}
    one = train(toy_config(tmp_path, **options))
    both = [
        in_process(toy_config(tmp_path, **options, batch_size=2, strategy="ddp"), tmp_path / "two", environment)
        for environment in ranks(2)
    ]
    for process in both:
        process.join(120)
        assert process.exitcode == 0
    (state, history), (wanted, expected) = final(tmp_path / "two"), final(one)
    for epoch, alone in zip(history, expected, strict=True):
        assert epoch["train_loss"] == pytest.approx(alone["train_loss"], abs=1e-5)
        assert epoch["val_top1"] == pytest.approx(alone["val_top1"], abs=1e-6)
    for name, value in state.items():
        torch.testing.assert_close(value, wanted[name], rtol=0, atol=1e-5)


def test_processes_started_from_outside_need_a_folder(tmp_path, monkeypatch):
    for name, value in next(ranks(2)).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="give --run DIR"):
        train(toy_config(tmp_path))


@pytest.mark.slow
def test_torchrun_starts_a_lost_process_again(tmp_path):
    expected = train(toy_config(tmp_path, samples=48, epochs=8, batch_size=2, norm="fixed", devices=1))
    words = ["samples=48", "epochs=8", "batch_size=1", "norm='fixed'", "save_minutes=0", "strategy='ddp'"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=2"]
    run = tmp_path / "run"
    own_store = {
        **os.environ,
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }  # shared, gloo hangs after every second restart
    started = subprocess.Popen([*torchrun, "-m", "tests.training.toy", str(run), *words], env=own_store)
    last = run / "checkpoints" / "last.ckpt"
    while not last.exists() and started.poll() is None:
        time.sleep(0.01)
    children = subprocess.run(["pgrep", "-P", str(started.pid)], capture_output=True, text=True, check=True)
    os.kill(int(children.stdout.split()[-1]), signal.SIGKILL)
    assert started.wait(120) == 0
    assert len(final(run)[1]) == len(final(expected)[1])
    assert (run / "results.json").exists()
