import pytest

from gcnet.benchmarks.report import text
from gcnet.benchmarks.results import Run
from tests.benchmarks import made_up


def _line(report, start):
    (line,) = [line for line in report.splitlines() if line.startswith(start)]
    return line.split()


def test_columns_are_aligned_and_wins_ties_and_losses_marked():
    report = text(made_up.run())
    start = report.index("case ")
    table = report[start : report.index("\n\n", start)].splitlines()
    assert table[0].split() == ["case", "input", "gcnet", "ms", "mmcv", "timm", "of", "copy"]
    assert len({len(line) for line in table}) == 1
    assert table[2].split() == [
        "gc/a/forward",
        "2x64x7x7",
        "1",
        "3.00",
        "[3.00,",
        "3.00]",
        "1.00",
        "[0.95,",
        "1.05]~",
        "50%",
    ]
    assert table[3].split() == ["gc/b/forward", "2x64x7x7", "2", "-", "0.50", "[0.50,", "0.50]!", "50%"]


def test_networks_show_what_blocks_add():
    report = text(made_up.run())
    block = report[report.index("Time that GC blocks add") :]
    assert _line(block[: block.index("Most memory")], "network/r")[1:4] == ["+10.0%", "[+10.0%,", "+10.0%]"]


def test_who_did_not_run_is_named_with_the_reason():
    assert text(made_up.run()).endswith("not run\n  mmcv: too big (gc/b/forward)")


def test_memory():
    report = text(made_up.run())
    memory = report[report.index("Most memory") :]
    assert _line(memory, "gc/b/forward") == ["gc/b/forward", "2.5", "-", "2.5", "-"]


def test_the_heading_says_where():
    report = text(made_up.run())
    for part in ("Example(R) CPU 9, 4 cores", "torch 2.14.1", "AVX2", "default allocator; 3 rounds", "commit 0123abc"):
        assert part in report
    assert "QUICK" not in report
    assert "BUSY" not in report
    assert "BUSY: a load of 9.5 on 4 cores" in text(made_up.run(load=9.5))


def test_a_quick_run_says_so():
    run = made_up.run()
    quick = Run(run.environment, {**run.settings, "quick": True}, run.results)
    assert "QUICK: few short rounds, a look and not a measurement" in text(quick)


def test_a_gpu_is_named_with_its_driver():
    report = text(made_up.run(gpu="NVIDIA X1", gpu_memory_gib=79.1, driver="570.1", cuda="13.0"))
    assert report.startswith("gcnet bench on NVIDIA X1\n")
    assert "driver 570.1, CUDA 13.0, 79.1 GiB on the GPU, launched from Python" in report


@pytest.mark.parametrize(
    ("changes", "slug"),
    [
        ({}, "example-cpu-9-4-cores"),
        ({"gpu": "NVIDIA H200"}, "nvidia-h200"),
    ],
)
def test_hardware_names_a_folder(changes, slug):
    assert made_up.environment(**changes).slug == slug
