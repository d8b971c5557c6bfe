"""What torchrun, SLURM and Lightning tell a process about its place."""

import pytest

pytest.importorskip("lightning")

from gcnet.training.distributed import RUN_VARIABLE, is_first, processes, started_from_outside
from gcnet.training.run_folder import run_folder
from tests.training.toy import toy_config

TORCHRUN = {"TORCHELASTIC_RUN_ID": "7", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "RANK": "5", "LOCAL_RANK": "1"}
SLURM = {
    "SLURM_PROCID": "3",
    "SLURM_NTASKS": "16",
    "SLURM_NNODES": "2",
    "SLURM_JOB_NAME": "train",
    "SLURM_LOCALID": "3",
}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in (*TORCHRUN, *SLURM, RUN_VARIABLE):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def environment(monkeypatch):
    def put(values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return put


@pytest.mark.parametrize(
    ("values", "places"),
    [
        (TORCHRUN, (4, 2)),
        (SLURM, (8, 2)),
        ({}, ("auto", 1)),
        ({"SLURM_JOB_NAME": "bash", "SLURM_PROCID": "0"}, ("auto", 1)),
    ],
)
def test_places(environment, tmp_path, values, places):
    environment(values)
    assert processes(toy_config(tmp_path)) == places


def test_the_configuration_says_it_otherwise(tmp_path):
    assert processes(toy_config(tmp_path, devices=2, nodes=3)) == (2, 3)


@pytest.mark.parametrize(
    ("values", "first", "outside"),
    [
        ({}, True, False),
        (TORCHRUN, False, True),
        ({**TORCHRUN, "RANK": "0", "LOCAL_RANK": "0"}, True, True),
        ({**TORCHRUN, "RANK": "4", "LOCAL_RANK": "0"}, False, True),
        (SLURM, False, True),
        ({**SLURM, "SLURM_PROCID": "0"}, True, True),
        ({"LOCAL_RANK": "1"}, False, False),
    ],
)
def test_the_first_writes(environment, values, first, outside):
    environment(values)
    assert is_first() is first
    assert started_from_outside() is outside


def test_processes_of_lightning_share_the_folder_of_the_first(environment, tmp_path):
    environment({"LOCAL_RANK": "1", RUN_VARIABLE: str(tmp_path / "runs" / "004")})
    assert run_folder(toy_config(tmp_path), None) == tmp_path / "runs" / "004"
    assert not (tmp_path / "runs").exists()
