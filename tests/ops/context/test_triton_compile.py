"""What the compiler makes of every kernel for the maps of ResNet-50, without a GPU: registers, spills, access widths.

A map of P positions, contiguous, lets a row be read in units of the largest power of two that divides P, at most 16
bytes; channels-last maps, and ``fuse``, which takes the map as one row, always in 16 bytes.
"""

import re

import pytest
import torch

pytest.importorskip("triton", reason="triton is not installed")

from tests.ops.context.compiled import compile_for, launches

MAPS = {
    "c2": (64, 256, 56, 56),
    "c3": (64, 512, 28, 28),
    "c4": (64, 1024, 14, 14),
    "c5": (64, 2048, 7, 7),
    "det c3": (2, 512, 100, 168),
    "det c4": (2, 1024, 50, 84),
    "det c5": (2, 2048, 25, 42),
}
REGISTERS = {"spread_kernel": 148}  # 128 for the others
LAYOUTS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def primitives(x):
    """Every primitive in the form that needs most, on tensors that hold no memory."""
    from gcnet.ops.context import triton as kernels

    samples, channels = x.shape[:2]
    of_channels, weights = x.new_empty((samples, channels), dtype=torch.float32), x[:, 0].flatten(1).float()
    key = of_channels[0]
    return {
        "pool": lambda: kernels.pool(x, key),
        "average": lambda: kernels.pool(x, None),
        "fuse": lambda: kernels.fuse(x, of_channels, of_channels),
        "fuse with epilogue": lambda: kernels.fuse(x, of_channels, of_channels, x, relu=True),
        "sums": lambda: kernels.sums(x, x, True, True),
        "sums with epilogue": lambda: kernels.sums(x, x, True, True, x),
        "spread": lambda: kernels.spread(x, x, of_channels, key, weights, of_channels, of_channels),
    }


def compiled(monkeypatch, shape, dtype, layout, names=None, capability=90):
    x = torch.empty(shape, dtype=DTYPES[dtype], device="meta", memory_format=LAYOUTS[layout])
    for name, call in primitives(x).items():
        if names is None or name in names:
            for launch in launches(monkeypatch, call):
                yield name, compile_for(capability, *launch)


def width_of_accesses(shape, dtype, layout, kernel):
    size = DTYPES[dtype].itemsize * 8
    positions = shape[2] * shape[3]
    whole = layout == "nhwc" or kernel.startswith("fuse")
    return 128 if whole else min(128, size * (positions & -positions))


def spills(capability, older):
    """Accesses to local memory that are allowed: none for sm_90 since Triton 3.8, one value for sm_80."""
    import triton

    recent = tuple(int(part) for part in triton.__version__.split(".")[:2]) >= (3, 8)
    return 0 if recent and capability == 90 else 2 if recent else older


def check(code, name, shape, dtype, layout, capability=90):
    assert code.spills <= spills(capability, older=2), f"{name}: {code.spills} accesses to local memory"
    assert code.registers <= REGISTERS.get(code.kernel, 128)
    assert not re.search(r"\b(?:ATOM|ATOMG|ATOMS|RED)\b", code.sass), f"{name} is not deterministic"
    if code.kernel != "combine_kernel":  # which sees no map
        width = width_of_accesses(shape, dtype, layout, code.kernel)
        assert width in code.loads
        assert width in code.stores or code.kernel in ("pool_kernel", "sums_kernel")
        assert 16 not in code.loads or width == 16


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stage", ["c4", "c5"])
def test_code_for_sm90(monkeypatch, stage, dtype, layout):
    names = ("pool", "fuse with epilogue", "spread") if dtype == "bf16" else ("sums with epilogue", "spread")
    for name, code in compiled(monkeypatch, MAPS[stage], dtype, layout, names):
        check(code, name, MAPS[stage], dtype, layout)


def test_code_for_sm80(monkeypatch):
    for name, code in compiled(monkeypatch, MAPS["c4"], "bf16", "nchw", ("pool", "spread"), capability=80):
        check(code, name, MAPS["c4"], "bf16", "nchw", 80)


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stage", MAPS)
@pytest.mark.parametrize("capability", [90, 80])
def test_code_for_every_map(monkeypatch, capability, stage, dtype, layout):
    for name, code in compiled(monkeypatch, MAPS[stage], dtype, layout, capability=capability):
        check(code, name, MAPS[stage], dtype, layout, capability)


@pytest.mark.parametrize("name", ["pool", "fuse", "sums", "spread"])
def test_new_sizes_of_the_map_seldom_mean_new_code(monkeypatch, name):
    """A training of detectors meets a new size in every batch."""
    codes = set()
    for height in range(50, 101, 5):
        for width in range(84, 169, 4):
            x = torch.empty(2, 512, height, width, dtype=torch.bfloat16, device="meta")
            kernel, _, constants = launches(monkeypatch, primitives(x)[name])[0]
            codes.add((kernel.__name__, *constants.items()))
    assert len(codes) <= 12  # of 242 sizes


def test_the_result_is_rounded_before_the_residual_is_added(monkeypatch):
    """The two roundings to bfloat16 that unfused operations make; no multiplication is contracted with an addition."""
    for layout in LAYOUTS:
        ((_, code),) = compiled(monkeypatch, MAPS["c4"], "bf16", layout, ("fuse with epilogue",))
        assert len(re.findall(r"F2F?P?\.BF16", code.sass)) >= 2
        assert "FFMA" not in code.sass


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("stage", "hidden"), [("c2", 16), ("c3", 32), ("c3", 64)])
def test_code_of_one_launch(monkeypatch, stage, hidden, dtype, layout):
    from gcnet.ops import Transform
    from gcnet.ops.context import triton as kernels

    x = torch.empty(MAPS[stage], dtype=DTYPES[dtype], device="meta", memory_format=LAYOUTS[layout])
    wide, narrow = (torch.empty(size, device="meta") for size in (MAPS[stage][1], hidden))
    add = Transform(wide[:, None] * narrow, wide, narrow[:, None] * wide, *[narrow] * 3, activation="relu")
    (launch,) = launches(monkeypatch, lambda: kernels.one_launch(x, wide, None, add))
    code = compile_for(90, *launch)
    assert code.spills <= spills(90, older=34)
    assert code.registers <= 128
    assert 128 in code.loads
    assert 128 in code.stores
    assert 16 not in code.loads
    waiting = code.sass.index("LDG.E.STRONG.GPU")  # no read-modify-write while waiting
    assert "CCTL.IVALL" in code.sass[waiting : waiting + 2000]  # what other programs wrote is read afresh
    assert len(re.findall(r"ATOMG\.E\.ADD\.STRONG\.GPU", code.sass)) == 3  # two draws of tickets, one count
    assert not re.search(r"ATOM\S*F32|RED", code.sass)


def test_maps_beyond_32_bits(monkeypatch):
    for _, code in compiled(monkeypatch, (5000, 256, 56, 56), "bf16", "nchw", ("fuse", "sums")):
        assert code.spills == 0
