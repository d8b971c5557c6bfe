"""The invariants of the design that belong to blocks, over every block."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from tests.blocks.cases import CASES, CHANNELS, IDENTITY_CASES, example, perturb

each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
each_identity = pytest.mark.parametrize("case", IDENTITY_CASES, ids=lambda case: case.name)
each_dims = pytest.mark.parametrize("dims", [1, 2, 3])


@each
@each_dims
def test_shape_dtype_and_layout(case, dims):
    block = perturb(case.build(dims=dims))
    x = example(dims)
    for features in layouts(x):
        y = block(features)
        assert y.shape == x.shape
        assert y.dtype == x.dtype
        torch.testing.assert_close(y, block(x), rtol=1e-4, atol=1e-5)
    assert torch.isfinite(y).all()


def layouts(x):
    """Contiguous, channels_last, permuted, strided, expanded."""
    yield x
    if x.dim() in (4, 5):
        yield x.contiguous(memory_format=torch.channels_last if x.dim() == 4 else torch.channels_last_3d)
    yield x.transpose(1, -1).contiguous().transpose(1, -1)
    wide = torch.randn(*x.shape[:-1], 2 * x.shape[-1])
    wide[..., ::2] = x
    yield wide[..., ::2]


@each
@pytest.mark.parametrize("dims", [2, 3])
def test_channels_last_stays_channels_last(case, dims):
    block = perturb(case.build(dims=dims))
    memory_format = torch.channels_last if dims == 2 else torch.channels_last_3d
    x = example(dims).contiguous(memory_format=memory_format)
    assert block(x).is_contiguous(memory_format=memory_format)
    assert block(example(dims)).is_contiguous()


@each
def test_expanded_input(case):
    block = perturb(case.build()).eval()
    x = torch.randn(1, CHANNELS, 1, 7).expand(3, -1, 5, -1)
    torch.testing.assert_close(block(x), block(x.contiguous()), rtol=1e-4, atol=1e-5)


@each
@each_dims
def test_empty_batch_and_single_position(case, dims):
    block = perturb(case.build(dims=dims)).eval()
    assert block(example(dims, batch=0)).shape[0] == 0
    assert block(torch.randn(2, CHANNELS, *(1,) * dims)).isfinite().all()


@each_identity
@each_dims
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_identity_bit_for_bit(case, dims, dtype):
    block = case.spec().build(CHANNELS, dims=dims, dtype=dtype)
    x = example(dims, dtype=dtype)
    for training in (True, False):
        block.train(training)
        for features in layouts(x):
            if features.dtype == dtype:
                assert torch.equal(block(features), x)


@each_identity
def test_identity_can_learn(case):
    block = case.spec().build(CHANNELS, dtype=torch.float64).train()
    optimizer = torch.optim.SGD(block.parameters(), lr=1.0)
    moved = {name: p.detach().clone() for name, p in block.named_parameters()}
    for step in range(4):
        x = torch.randn(4, CHANNELS, 6, 6, dtype=torch.float64)
        optimizer.zero_grad()
        (block(x) * torch.randn_like(x)).mean().backward()
        gradients = {name: p.grad for name, p in block.named_parameters()}
        assert all(isinstance(g, torch.Tensor) for g in gradients.values()), "a gradient is None"
        if step == 0:
            assert any(g.abs().max() > 0 for g in gradients.values())
        optimizer.step()
    # these have no gradient by the mathematics: a constant added to all logits, or to the input of a BatchNorm
    for name, p in block.named_parameters():
        if not is_null(case, name):
            assert not torch.equal(p, moved[name]), f"{name} did not learn"


def is_null(case, name):
    if name in ("key.bias", "conv_mask.bias"):
        return case.name != "nl_concatenation" or name == "conv_mask.bias"
    return case.normalises_batch and name.endswith(("bias",))


@each
@pytest.mark.parametrize("low", [torch.float16, torch.bfloat16], ids=str)
def test_low_precision_is_float32_inside(case, low):
    block = perturb(case.build()).eval()
    reference = copy.deepcopy(block).to(low).double()
    x = example(dtype=low)
    y = block.to(low)(x)
    assert y.dtype == low
    exact = reference(x.double())
    # one rounding of the result; blocks with convolutions inside round their intermediate maps as well
    ulps = 16 if case.block.has_spatial_kernels else 1
    assert (y.double() - exact).norm() <= ulps * torch.finfo(low).eps * exact.norm()


@each
def test_autocast_keeps_dtype_and_gradients(case):
    block = perturb(case.build())
    for dtype in (torch.float32, torch.bfloat16):
        x = example(dtype=dtype).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = block(x)
        assert y.dtype == dtype
        y.float().square().sum().backward()
        assert all(p.grad is not None and p.grad.dtype == p.dtype for p in block.parameters())


@each
def test_largest_float16_input_gives_no_nan(case):
    block = case.build(dtype=torch.float16).eval()
    x = torch.full((2, CHANNELS, 12, 12), 60000.0, dtype=torch.float16)
    x[:, ::2] *= -1
    assert not block(x).isnan().any()


@each
@each_dims
def test_gradcheck(case, dims):
    block = perturb(case.build(dims=dims, channels=CHANNELS, dtype=torch.float64)).eval()
    x = torch.randn(2, CHANNELS, *{1: (3,), 2: (2, 2), 3: (1, 2, 2)}[dims], dtype=torch.float64, requires_grad=True)
    parameters = dict(block.named_parameters())
    names = sorted(parameters, key=lambda name: parameters[name].numel())[:4]

    def call(x, *values):
        return torch.func.functional_call(block, dict(zip(names, values, strict=True)), (x,))

    inputs = (x, *(parameters[name].detach().clone().requires_grad_() for name in names))
    assert torch.autograd.gradcheck(call, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(call, inputs, fast_mode=True)


@each
@each_dims
def test_one_state_dict_serves_all_ranks(case, dims):
    if case.block.has_spatial_kernels:
        shapes = {name: p.dim() for name, p in case.build(dims=dims).named_parameters()}
        assert max(shapes.values()) <= 2 + dims
        return
    perturbed = perturb(case.build())
    block = case.build(dims=dims)
    block.load_state_dict(perturbed.state_dict())
    x = example(1)
    expected = perturbed.eval()(x.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(block.eval()(x), expected)


class End(nn.Module):
    """The end of a residual block, in one call or as three."""

    def __init__(self, block, one_call=True):
        super().__init__()
        self.block, self.one_call = block, one_call

    def forward(self, x, shortcut):
        return self.block.forward_residual(x, shortcut) if self.one_call else torch.relu(self.block(x) + shortcut)


@each
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_residual_bit_for_bit(case, dtype, training):
    block = perturb(case.build(dtype=dtype)).train(training)
    for x, shortcut in zip(layouts(example().to(dtype)), layouts(example().to(dtype)), strict=True):
        for residual in (shortcut, shortcut.contiguous()):
            assert torch.equal(End(block)(x, residual), End(block, one_call=False)(x, residual))
    if not training:  # statistics of an empty batch do not exist
        assert block.forward_residual(x[:0], residual[:0]).shape == x[:0].shape


@each
def test_residual_gradients(case):
    block = perturb(case.build(dtype=torch.float64)).eval()
    inputs = [example(dtype=torch.float64).requires_grad_() for _ in range(2)]
    g = example(dtype=torch.float64)
    wanted = [*inputs, *block.parameters()]
    ours, judge = (
        torch.autograd.grad(End(block, one_call)(*inputs), wanted, g, materialize_grads=True)
        for one_call in (True, False)
    )
    for name, a, b in zip(["x", "shortcut", *dict(block.named_parameters())], ours, judge, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10, msg=name)


@each
def test_residual_fx_compile_export(case):
    torch._dynamo.reset()  # the compiled forward is that of End for every block
    end = End(perturb(case.build()).eval())
    inputs = (example(), example())
    expected = end(*inputs)
    assert torch.equal(torch.fx.symbolic_trace(end)(*inputs), expected)
    compiled = torch.compile(end, fullgraph=True, backend="aot_eager", dynamic=True)
    torch.testing.assert_close(compiled(*inputs), expected, rtol=1e-4, atol=1e-5)
    batch = torch.export.Dim("n", min=1)
    program = torch.export.export(end, inputs, dynamic_shapes={"x": {0: batch}, "shortcut": {0: batch}}).module()
    torch.testing.assert_close(program(*inputs), expected, rtol=1e-4, atol=1e-5)
    more = (example(batch=3), example(batch=3))
    torch.testing.assert_close(program(*more), end(*more), rtol=1e-4, atol=1e-5)


@each
def test_fx(case):
    block = perturb(case.build()).eval()
    traced = torch.fx.symbolic_trace(block)
    for shape in [(2, CHANNELS, 9, 7), (1, CHANNELS, 12, 12)]:
        x = torch.randn(shape)
        assert torch.equal(traced(x), block(x))


@each
def test_compile_fullgraph(case):
    block = perturb(case.build())
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager", dynamic=True)
    for shape in [(2, CHANNELS, 9, 7), (3, CHANNELS, 8, 8)]:
        x = torch.randn(shape)
        torch.testing.assert_close(compiled(x), block(x), rtol=1e-4, atol=1e-5)


@each
def test_export_with_dynamic_batch_and_size(case):
    block = perturb(case.build()).eval()
    dim = torch.export.Dim
    axes = {0: dim("n", min=1), 2: dim("h", min=4), 3: dim("w", min=4)}
    shapes = [(1, CHANNELS, 4, 11), (5, CHANNELS, 16, 8)]
    if "subsample" in case.options and torch.__version__ < "2.15":
        # the pooling of older versions bakes in whether an axis is even
        axes, shapes = {0: axes[0]}, [(1, CHANNELS, 9, 7), (5, CHANNELS, 9, 7)]
    program = torch.export.export(block, (torch.randn(2, CHANNELS, 9, 7),), dynamic_shapes={"x": axes})
    for shape in shapes:
        x = torch.randn(shape)
        torch.testing.assert_close(program.module()(x), block(x), rtol=1e-4, atol=1e-5)


@each
def test_copies_and_files(case):
    block = perturb(case.build()).eval()
    x = example()
    file = io.BytesIO()
    torch.save(block, file)
    file.seek(0)
    for twin in (copy.deepcopy(block), pickle.loads(pickle.dumps(block)), torch.load(file, weights_only=False)):
        assert torch.equal(twin(x), block(x))
    assert repr(block) == repr(twin)


@each
def test_specs(case):
    spec = case.spec()
    assert spec == pickle.loads(pickle.dumps(spec))
    assert hash(spec) == hash(case.spec())
    assert repr(spec).startswith(f"{case.block.__name__}.spec(")
    block = spec.build(CHANNELS)
    assert isinstance(block, case.block)
    assert spec.parameter_count(CHANNELS) == sum(p.numel() for p in block.parameters())
    with pytest.raises(TypeError, match="ratios"):
        case.block.spec(ratios=1 / 4)
    with pytest.raises(TypeError, match="site"):
        case.block.spec(channels=3)


@each
def test_device_and_dtype(case):
    block = case.build(device="meta", dtype=torch.float16)
    assert {p.device.type for p in block.parameters()} == {"meta"}
    assert {p.dtype for p in block.parameters()} == {torch.float16}
    assert block(example(dtype=torch.float16).to("meta")).shape == (2, CHANNELS, 9, 7)


@each
def test_deterministic(case):
    block = perturb(case.build())
    x = example()
    torch.use_deterministic_algorithms(True)
    try:
        outcomes = []
        for _ in range(2):
            torch.manual_seed(1)
            twin = copy.deepcopy(block)
            features = x.clone().requires_grad_()
            y = twin(features)
            y.square().sum().backward()
            outcomes.append([y, features.grad, *(p.grad for p in twin.parameters())])
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(*outcomes, strict=True))
    torch.testing.assert_close(outcomes[0][0], block(x))


@each
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, CHANNELS), "spatial"),
        (torch.zeros(2, CHANNELS + 1, 3, 3), str(CHANNELS)),
        (torch.zeros(2, CHANNELS, 3, 3, dtype=torch.int64), "float"),
    ],
    ids=["no_positions", "channels", "integers"],
)
def test_wrong_inputs(case, x, message):
    with pytest.raises((ValueError, TypeError), match=message):
        case.build()(x)


@each
@pytest.mark.parametrize("channels", [0, -4, 2.5, True, "64"])
def test_wrong_channels(case, channels):
    with pytest.raises((ValueError, TypeError), match=r"channels|inplanes"):
        case.block(channels, **case.options)


@each
def test_wrong_options(case):
    with pytest.raises(TypeError):
        case.build(no_such_option=1)
    if case.block.can_be_identity:
        with pytest.raises(ValueError, match="identity"):
            case.build(init="identical")


def test_every_block_of_the_package_is_tested():
    import gcnet

    blocks = {value for value in vars(gcnet).values() if isinstance(value, type) and issubclass(value, gcnet.Block)}
    assert {case.block for case in CASES} == blocks - {gcnet.Block}


@each
def test_is_a_plain_module(case):
    block = case.build()
    assert isinstance(block, nn.Module)
    assert block.channels == CHANNELS
    assert str(CHANNELS) in block.extra_repr()


@each
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_trained_float16_blocks_give_no_nan(case, training):
    block = case.build()
    with torch.no_grad():
        for name, p in block.named_parameters():
            p.normal_(std=0.3)
            if p.dim() == 1 and "norm" in name and name.endswith("weight"):
                p.fill_(1.5)
    block = block.half().train(training)
    x = torch.full((2, CHANNELS, 6, 6), 60000.0).half()
    x[:, ::2] *= -1
    assert not block(x).isnan().any()
    assert not any(buffer.isnan().any() for buffer in block.buffers())
    assert not block.eval()(example(dtype=torch.float16)).isnan().any()


@each
def test_input_of_another_dtype_than_the_parameters(case):
    x = example(dtype=torch.float64)
    assert case.build().eval()(x).dtype == torch.float64
    assert case.build(dtype=torch.float64).eval()(x.float()).dtype == torch.float32
