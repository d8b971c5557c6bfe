"""Jobs that take a second or two, and functions to run in the place of a training."""

import dataclasses
import os
import time
from pathlib import Path

import gcnet
from gcnet.ablation.bases import base_of
from gcnet.ablation.identity import plain_values, run_key, source_hash
from gcnet.ablation.job import Job
from gcnet.ablation.row import Row
from gcnet.ablation.worker import run_job
from gcnet.training.run_folder import save_json
from gcnet.training.scenes.classification import ClassificationScenes

SCENES = ClassificationScenes(train=64, val=32)


def small_job(folder: Path, seed: int = 0) -> Job:
    """Scenes shown in 32 pixels, a small network, three epochs of two steps."""
    config = dataclasses.replace(
        base_of("classification").config,
        data=folder / "scenes",
        backbone="timm:test_resnet",
        image_size=32,
        test_resize=32,
        epochs=3,
        loggers=("csv",),
        seed=seed,
        out=folder / "runs",
    )
    sources = source_hash(config)
    key = run_key(config, sources=sources, data="made")
    return Job(key, f"none, seed {seed}", config, folder / "runs" / key, SCENES, sources, "made")


def no_job(folder: Path, seed: int = 0) -> Job:
    """A job that nothing is trained for."""
    return dataclasses.replace(small_job(folder, seed), scenes=None)


def made_row(job: Job, **metrics: float) -> Row:
    """A row as if the job had been trained."""
    return Row(
        key=job.key,
        task="classification",
        config=plain_values(job.config),
        seed=job.config.seed,
        threads=job.config.threads,
        sources=job.sources,
        data=job.data,
        score="val_top1",
        metrics={"val_top1": 0.5 + job.config.seed / 100, **metrics},
        parameters=10,
        added_parameters=0,
        macs=100,
        input_shape=(1, 3, 32, 32),
        latency_ms=1.0,
        latency_ratio=(1.0, 1.0, 1.0),
        memory_mb=1.0,
        seconds=60.0,
        versions={},
        hardware={},
        started="2026-01-01T00:00:00+00:00",
        finished="2026-01-01T00:01:00+00:00",
        folder=str(job.folder),
    )


def quick(job, report):
    """Report, print, write the row."""
    print(f"printed by {job.label}")
    report(0.5, {"val_top1": 0.25})
    row = made_row(job, pid=os.getpid(), omp=float(os.environ.get("OMP_NUM_THREADS", 0)))
    save_json(job.folder / "config.json", {})
    save_json(job.folder / "row.json", row.to_dict())
    with (job.folder.parent / "trained.txt").open("a") as file:
        file.write(f"{job.key}\n")
    return row


def unhurried(job, report):
    """The same in half a second."""
    time.sleep(0.5)
    return quick(job, report)


def endless(job, report):
    """Tell its process, and go on for a minute, reporting."""
    (job.folder / ".pid").write_text(str(os.getpid()))
    for step in range(600):
        report(step / 600, {})
        time.sleep(0.1)


def stubborn(job, report):
    """The same, and not to be interrupted."""
    try:
        endless(job, report)
    except KeyboardInterrupt:
        endless(job, report)


def telling_module(job, report):
    """Say which gcnet trains."""
    print(gcnet.__file__)
    return quick(job, report)


def wrong(job, report):
    """An error in the job of seed 1."""
    if job.config.seed == 1:
        raise FloatingPointError("the loss is not finite\nat step 3")
    return quick(job, report)


def dying(job, report):
    """Killed whenever it is run for seed 1; once for seed 2."""
    first = not (job.folder / ".tried").exists()
    (job.folder / ".tried").touch()
    if job.config.seed == 1 or (job.config.seed == 2 and first):
        os.kill(os.getpid(), 9)
    return quick(job, report)


def trained_telling_pid(job, report):
    """A real training, whose process is known."""
    (job.folder / ".pid").write_text(str(os.getpid()))
    return run_job(job, report)


def trained_killed_once(job, report):
    """A real training that is killed after its first epoch, once."""

    def kill(share, scores):
        if scores and not (job.folder / ".killed").exists():
            (job.folder / ".killed").touch()
            os.kill(os.getpid(), 9)
        report(share, scores)

    return run_job(job, kill)


def same_result(one: Row, other: Row) -> bool:
    """Whether two runs reached the same, to the bit."""
    return one.metrics == other.metrics and one.config["seed"] == other.config["seed"]
