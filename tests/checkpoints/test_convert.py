"""Networks of other libraries become ours: same outputs, and the way back bit by bit."""

import pytest
import torch
from torch import nn
from torchvision.models import get_model
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

import gcnet
from gcnet.checkpoints.architecture import Architecture
from gcnet.checkpoints.convert import to_ours, to_theirs
from gcnet.models import inflate
from gcnet.models.classifiers import resnet

SHALLOW = (1, 1, 1, 1)


def randomise(model):
    """Random values everywhere, statistics included, so that no zero hides anything."""
    generator = torch.Generator().manual_seed(0)
    model = model.double().eval()
    for value in model.state_dict().values():
        if value.is_floating_point() and value.dim() < 2:
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
        elif value.is_floating_point():
            value.copy_(torch.randn(value.shape, generator=generator) * value[0].numel() ** -0.5)
    return model


def samples(*size):
    return torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def check_round_trip(conversion, tensors):
    back = to_theirs(conversion.tensors, conversion.architecture, layout=conversion.source)
    assert back.complete
    assert back.tensors.keys() == tensors.keys()
    for key, value in tensors.items():
        assert value.dtype == back.tensors[key].dtype, key
        assert torch.equal(value, back.tensors[key]), key


@torch.no_grad()
def check(conversion, tensors, expected, x, host=None):
    """Every key is accounted for, the network gives ``expected``, and goes back."""
    assert conversion.complete, str(conversion)
    if host is None:
        ours = conversion.architecture.build()
    else:
        ours = host
        conversion.architecture.insert_into(ours)
    ours.double().eval().load_state_dict(conversion.tensors)
    actual = ours(x)
    assert (actual - expected).norm() <= 1e-12 * expected.norm()
    check_round_trip(conversion, tensors)
    return ours


@torch.no_grad()
def check_live(model, x=None, host=None, **options):
    tensors = randomise(model).state_dict()
    x = samples(32, 32) if x is None else x
    conversion = to_ours(tensors, **options)
    check(conversion, tensors, model(x), x, host)
    return conversion


@pytest.mark.parametrize("attention", ["se", "nl", "gca"])
@pytest.mark.parametrize("block", ["BasicBlock", "Bottleneck"])
def test_timm_resnet(attention, block):
    timm = pytest.importorskip("timm.models.resnet")
    model = timm.ResNet(getattr(timm, block), SHALLOW, num_classes=7, block_args={"attn_layer": attention})
    conversion = check_live(model)
    assert conversion.source == "timm ResNet"
    assert [block.position for block in conversion.architecture.placed] == ["after_1x1"] * 4


@pytest.mark.slow
def test_timm_seresnet50():
    timm = pytest.importorskip("timm")
    check_live(timm.create_model("seresnet50"))


@pytest.mark.parametrize("name", ["gcresnet50t", "gcresnext26ts", "gcresnet33ts", "gcresnext50ts"])
def test_timm_networks_keep_their_names(name):
    timm = pytest.importorskip("timm")
    conversion = check_live(timm.create_model(name, num_classes=3), host=timm.create_model(name, num_classes=3))
    assert conversion.source == "timm GlobalContext"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mobilenet_v3_small", {"gate_function": "hard_sigmoid"}),
        ("efficientnet_b0", {"activation": "silu"}),
        ("regnet_y_400mf", {}),
    ],
)
def test_torchvision_squeeze_excitation(name, options):
    model, host = get_model(name), get_model(name)
    check_live(model, host=host, layout="torchvision SqueezeExcitation", options=options)


@pytest.mark.parametrize(
    "model",
    [
        ResNet(BasicBlock, SHALLOW, num_classes=5),
        ResNet(Bottleneck, (1, 2, 1, 1)),
        ResNet(Bottleneck, SHALLOW, groups=32, width_per_group=4),
        ResNet(Bottleneck, SHALLOW, width_per_group=128),
    ],
)
def test_torchvision_resnet(model):
    check_live(model)


def test_our_own_blocks_in_2d_and_3d():
    for dims in (2, 3):
        model = resnet(SHALLOW, num_classes=4)
        if dims == 3:
            model = inflate(model, {"layer[34].*.conv1": 3})
        gcnet.insert(model, gcnet.GlobalContext.spec(ratio=1 / 4, init="published"), stages="c4", position="after_1x1")
        gcnet.insert(model, gcnet.NonLocal.spec(scale="inverse_sqrt"), stages="c5", position="after_1x1")
        x = samples(*(32,) * 2) if dims == 2 else samples(4, 32, 32)
        conversion = check_live(model, x, options={"scale": "inverse_sqrt"})
        assert conversion.source == "gcnet"


def forward_by_hand(model, x, blocks, *, temporal=False, position="after_1x1", caffe=False):
    """A ResNet of bottlenecks with mmcv blocks called where mmdetection and mmaction call them."""
    convolution = nn.functional.conv3d if temporal else nn.functional.conv2d

    def conv(layer, x, stride):
        stride = (1, stride, stride) if temporal else stride
        return convolution(x, layer.weight, stride=stride, padding=layer.padding, groups=layer.groups)

    x = model.maxpool(model.bn1(conv(model.conv1, x, 2)).relu())
    for stage in range(1, 5):
        for index, block in enumerate(getattr(model, f"layer{stage}")):
            stride = 2 if stage > 1 and index == 0 else 1
            out = block.bn1(conv(block.conv1, x, stride if caffe else 1)).relu()
            out = block.bn2(conv(block.conv2, out, 1 if caffe else stride)).relu()
            extra = blocks.get((stage, index))
            if extra is not None and position == "after_3x3":
                out = extra(out)
            out = block.bn3(conv(block.conv3, out, 1))
            if extra is not None and position == "after_1x1":
                out = extra(out)
            if block.downsample is not None:
                x = block.downsample[1](conv(block.downsample[0], x, stride))
            x = x + out
            if extra is not None and position == "after_add":
                x = extra(x)
            x = x.relu()
            if extra is not None and position == "after_block":
                x = extra(x)
    return model.fc(x.flatten(2).mean(2))


def named_as_mm(model, blocks, name):
    tensors = {
        key.replace("fc.", "head.fc.") if key.startswith("fc.") else f"backbone.{key}": value
        for key, value in model.state_dict().items()
    }
    for (stage, index), block in blocks.items():
        start = f"backbone.layer{stage}.{index}.{name}."
        tensors |= {start + key: value for key, value in block.state_dict().items()}
    return tensors


@pytest.mark.parametrize("caffe", [False, True])
@pytest.mark.parametrize("name", ["context_block", "context_block1", "nonlocal_block"])
@pytest.mark.parametrize("position", ["after_1x1", "after_3x3"])
@torch.no_grad()
def test_mm_resnet(name, caffe, position):
    bricks = pytest.importorskip("mmcv.cnn.bricks")
    model = randomise(ResNet(Bottleneck, SHALLOW, num_classes=6))
    widths = {3: 1024, 4: 2048}
    blocks = {}
    for stage, width in widths.items():
        width = width if position == "after_1x1" else width // 4
        made = bricks.NonLocal2d(width) if "nonlocal" in name else bricks.ContextBlock(width, 1 / 16)
        blocks[stage, 0] = randomise(made)
    tensors = named_as_mm(model, blocks, name)
    x = samples(32, 32)
    expected = forward_by_hand(model, x, blocks, position=position, caffe=caffe)
    config = f"backbone=dict(type='ResNet', style='{'caffe' if caffe else 'pytorch'}')"
    conversion = to_ours(tensors, metadata={"config": config})
    check(conversion, tensors, expected, x)
    assert "style" not in conversion.assumed
    assert {block.position for block in conversion.architecture.placed} == {position}


@pytest.mark.parametrize(
    ("make", "options", "position"),
    [
        (lambda bricks: bricks.NonLocal2d(1024, mode="gaussian", sub_sample=True), {}, "after_1x1"),
        (lambda bricks: bricks.NonLocal2d(1024, mode="dot_product"), {"pairwise": "dot_product"}, "after_1x1"),
        (lambda bricks: bricks.NonLocal2d(1024, mode="concatenation", norm_cfg={"type": "BN"}), {}, "after_1x1"),
        (lambda bricks: bricks.NonLocal2d(1024, use_scale=False), {"scale": "none"}, "after_1x1"),
        (lambda bricks: bricks.ContextBlock(1024, 1 / 4, "avg", ("channel_mul", "channel_add")), {}, "after_1x1"),
        (lambda bricks: bricks.ContextBlock(1024, 1 / 4), {"position": "after_add"}, "after_add"),
        (lambda bricks: bricks.ContextBlock(1024, 1 / 4), {"position": "after_block"}, "after_block"),
    ],
)
@pytest.mark.parametrize("prefix", ["backbone.", ""])
@torch.no_grad()
def test_mm_blocks_with_options(make, options, position, prefix):
    bricks = pytest.importorskip("mmcv.cnn.bricks")
    model = randomise(ResNet(Bottleneck, SHALLOW, num_classes=6))
    blocks = {(3, 0): randomise(make(bricks))}
    name = "context_block" if isinstance(blocks[3, 0], bricks.ContextBlock) else "nonlocal_block"
    x = samples(32, 32)
    expected = forward_by_hand(model, x, blocks, position=position)
    tensors = named_as_mm(model, blocks, name)
    if not prefix:
        tensors = {key.removeprefix("backbone."): value for key, value in tensors.items() if "head" not in key}
        model.fc = nn.Identity()
        expected = forward_by_hand(model, x, blocks, position=position)
    conversion = to_ours(tensors, options=options)
    assert conversion.source == ("mm ResNet" if prefix else "mm ResNet backbone")
    assert [block.position for block in conversion.architecture.placed] == [position]
    assert conversion.assumed["style"] == "pytorch"
    check(conversion, tensors, expected, x)


@torch.no_grad()
def test_mm_two_blocks_in_one_residual_block():
    bricks = pytest.importorskip("mmcv.cnn.bricks")
    model = randomise(ResNet(Bottleneck, SHALLOW, num_classes=6))
    inner, outer = randomise(bricks.ContextBlock(256, 1 / 4)), randomise(bricks.ContextBlock(1024, 1 / 16))
    tensors = named_as_mm(model, {}, "")
    for number, block in ((1, inner), (2, outer)):
        start = f"backbone.layer3.0.context_block{number}."
        tensors |= {start + key: value for key, value in block.state_dict().items()}
    x = samples(32, 32)
    model.layer3[0].bn3 = nn.Sequential(model.layer3[0].bn3, outer)
    expected = forward_by_hand(model, x, {(3, 0): inner}, position="after_3x3")
    check(to_ours(tensors), tensors, expected, x)


def test_mm_two_blocks_at_one_position_have_no_counterpart():
    bricks = pytest.importorskip("mmcv.cnn.bricks")
    blocks = {(3, 0): bricks.ContextBlock(1024, 1 / 4)}
    model = ResNet(Bottleneck, SHALLOW)
    tensors = named_as_mm(model, blocks, "context_block1") | named_as_mm(model, blocks, "context_block2")
    with pytest.raises(ValueError, match=r"'layer3\.0' has a GlobalContext after_1x1 as 'context_block1' already"):
        to_ours(tensors)


@torch.no_grad()
def test_timm_efficientnet():
    timm = pytest.importorskip("timm")
    model, host = (timm.create_model("efficientnet_b0", num_classes=3) for _ in range(2))
    conversion = check_live(model, host=host, options={"activation": "silu"})
    assert conversion.source == "timm SqueezeExcite"


@torch.no_grad()
def test_mm_squeeze_excitation():
    model = randomise(ResNet(Bottleneck, SHALLOW, num_classes=6))
    reduce, expand = (randomise(nn.Conv2d(*widths, 1)) for widths in ((1024, 64), (64, 1024)))
    tensors = named_as_mm(model, {}, "")
    for name, layer in (("conv1", reduce), ("conv2", expand)):
        tensors |= {f"backbone.layer3.0.se_layer.{name}.conv.{k}": v for k, v in layer.state_dict().items()}
    x = samples(32, 32)
    blocks = {(3, 0): lambda x: x * expand(reduce(x.mean((2, 3), keepdim=True)).relu()).sigmoid()}
    check(to_ours(tensors), tensors, forward_by_hand(model, x, blocks), x)


def test_another_epsilon_is_refused():
    model = resnet(SHALLOW, num_classes=0)
    spec = gcnet.GlobalContext.spec(ratio=1 / 4, norm_eps=1e-6, init="published")
    gcnet.insert(model, spec, stages="c5", position="after_1x1")
    assert to_theirs(model, layout="timm ResNet").complete
    with pytest.raises(ValueError, match="mmcv ContextBlock has eps=1e-05, that of this block norm_eps=1e-06"):
        to_theirs(model, layout="mm ResNet")


@torch.no_grad()
def test_mmaction_resnet_3d():
    bricks = pytest.importorskip("mmcv.cnn.bricks")
    model = randomise(inflate(ResNet(Bottleneck, SHALLOW, num_classes=6), {"conv1": 5, "layer[34].*.conv1": 3}))
    blocks = {(2, 0): randomise(bricks.NonLocal3d(512, sub_sample=True))}
    blocks[2, 0].g[1].kernel_size, blocks[2, 0].phi[1].kernel_size = (1, 2, 2), (1, 2, 2)
    tensors = {}
    for key, value in model.state_dict().items():
        *path, layer, leaf = key.split(".")
        if layer == "fc":
            name = f"cls_head.fc_cls.{leaf}"
        elif path and path[-1] == "downsample":
            name = ".".join(["backbone", *path, "bn" if layer == "1" else "conv", leaf])
        else:
            kind = "bn" if layer.startswith("bn") else "conv"
            name = ".".join(["backbone", *path, f"conv{layer[-1]}", kind, leaf])
        tensors[name] = value
    tensors |= {f"backbone.layer2.0.non_local_block.{k}": v for k, v in blocks[2, 0].state_dict().items()}
    x = samples(4, 32, 32)
    expected = forward_by_hand(model, x, blocks, temporal=True, position="after_block")
    conversion = to_ours(tensors)
    assert conversion.source == "mmaction ResNet3d"
    assert conversion.assumed["time_stride"] == "1"
    assert conversion.assumed["style"] == "pytorch"
    check(conversion, tensors, expected, x)


@torch.no_grad()
def test_the_inverted_scale_of_the_repository_has_to_be_named():
    model = randomise(ResNet(Bottleneck, SHALLOW, num_classes=6))
    block = randomise(gcnet.NonLocal(1024, scale=512**0.5))
    layers = {"theta": block.query, "phi": block.key, "g": block.value, "conv_out": block.out}
    tensors = named_as_mm(model, {}, "")
    for name, layer in layers.items():
        tensors[f"backbone.layer3.0.nonlocal_block.{name}.conv.weight"] = layer.weight[..., None, None].clone()
        tensors[f"backbone.layer3.0.nonlocal_block.{name}.conv.bias"] = layer.bias.clone()
    x = samples(32, 32)

    def by_formula(x):
        query, key, value = (
            torch.einsum("oc,ncp->nop", layer.weight, x.flatten(2)) + layer.bias[:, None]
            for layer in (block.query, block.key, block.value)
        )
        weights = (query.mT @ key * 512**0.5).softmax(-1)
        y = torch.einsum("oc,ncp->nop", block.out.weight, (weights @ value.mT).mT) + block.out.bias[:, None]
        return x + y.view_as(x)

    expected = forward_by_hand(model, x, {(3, 0): by_formula})
    assert to_ours(tensors).source == "mm ResNet"
    conversion = to_ours(tensors, layout="GCNet repository ResNet")
    check(conversion, tensors, expected, x)
    mended = to_theirs(conversion.tensors, conversion.architecture, layout="mm ResNet")
    assert "another logit scale" in mended.transformed["backbone.layer3.0.nonlocal_block.theta.conv.weight"]
    again = to_ours(mended.tensors, layout="mm ResNet").architecture.build().double().eval()
    again.load_state_dict(to_ours(mended.tensors, layout="mm ResNet").tensors)
    assert (again(x) - expected).norm() <= 1e-12 * expected.norm()


def test_a_block_alone():
    block = gcnet.SqueezeExcite(32, ratio=1 / 4)
    conversion = to_ours(
        {f"fc.{i}.weight": w.weight for i, w in ((0, block.scale.reduce), (2, block.scale.expand))}
        | {f"fc.{i}.bias": w.bias for i, w in ((0, block.scale.reduce), (2, block.scale.expand))}
    )
    assert conversion.source == "senet.pytorch SELayer"
    ours = conversion.architecture.build()
    ours.load_state_dict(conversion.tensors)
    x = torch.randn(2, 32, 5, 5)
    assert torch.equal(ours(x), block(x))


@pytest.mark.parametrize("head", [False, True])
def test_a_backbone_without_head_is_taken_for_an_mm_style_one(head):
    model = resnet(SHALLOW, num_classes=5 * head)
    gcnet.insert(model, gcnet.GlobalContext.spec(ratio=1 / 16, init="published"), stages="c5", position="after_1x1")
    tensors = to_theirs(model, layout="torchvision ResNet").tensors
    conversion = to_ours(tensors)
    assert conversion.source == ("torchvision ResNet" if head else "mm ResNet backbone")
    assert ("style" in conversion.assumed) is not head


@pytest.mark.parametrize("dilations", ["(1, 1, 2, 4)", "[1,1,1,2]"])
def test_dilations_in_the_configuration_are_refused_unless_waived(dilations):
    tensors = {f"backbone.{key}": value for key, value in resnet(SHALLOW, num_classes=0).state_dict().items()}
    metadata = {"meta": {"config": f"backbone=dict(type='ResNet', dilations={dilations}), neck=dict(dilations=(1, ))"}}
    with pytest.raises(ValueError, match=r"dilations=.*--option dilations=1"):
        to_ours(tensors, metadata=metadata)
    assert to_ours(tensors, metadata=metadata, options={"dilations": 1}).complete


def test_positions_in_the_configuration():
    model = resnet(SHALLOW, num_classes=0)
    gcnet.insert(model, gcnet.GlobalContext.spec(ratio=1 / 16, init="published"), stages="c5", position="after_3x3")
    narrow = to_theirs(model, layout="mm ResNet").tensors
    gcnet.remove(model)
    gcnet.insert(model, gcnet.GlobalContext.spec(ratio=1 / 16, init="published"), stages="c5", position="after_1x1")
    wide = to_theirs(model, layout="mm ResNet").tensors

    def position(tensors, text, **options):
        (block,) = to_ours(tensors, metadata={"config": text}, options=options).architecture.placed
        return block.position

    assert position(wide, "gcb=dict(ratio=1/16, insert_pos='after_add')") == "after_add"
    assert position(wide, "plugins=[dict(position='after_conv3')]") == "after_1x1"
    assert position(narrow, "plugins=[dict(position='after_conv2')]") == "after_3x3"
    with pytest.raises(ValueError, match="blocks after_conv1"):
        position(narrow, "plugins=[dict(position='after_conv1'), dict(position='after_conv3')]")
    assert position(narrow, "plugins=[dict(position='after_conv1')]", position="after_3x3") == "after_3x3"


def test_dilations_of_one_are_told():
    tensors = {f"backbone.{key}": value for key, value in resnet(SHALLOW, num_classes=0).state_dict().items()}
    config = (
        "backbone=dict(dilations=(1, 1, 1, 1)), decode_head=dict(dilations=(1, 12, 24, 36)), x=dict(dilations=(1, ))"
    )
    assert to_ours(tensors).assumed == {"style": "pytorch", "dilations": "1"}
    assert to_ours(tensors, metadata={"config": config}).assumed == {"style": "pytorch"}


def test_counters_of_old_files_are_filled():
    tensors = {k: v for k, v in ResNet(BasicBlock, SHALLOW).state_dict().items() if "num_batches" not in k}
    conversion = to_ours(tensors)
    assert conversion.complete
    assert len(conversion.filled) == 12
    conversion.architecture.build().load_state_dict(conversion.tensors)


def test_unused_and_missing_are_listed():
    tensors = ResNet(BasicBlock, SHALLOW).state_dict()
    tensors["decode_head.weight"] = torch.zeros(1)
    tensors["layer1.0.conv1.bias"] = torch.zeros(64)
    del tensors["layer2.0.bn1.running_var"]
    conversion = to_ours(tensors)
    assert sorted(conversion.unused) == ["decode_head.weight", "layer1.0.conv1.bias"]
    assert conversion.missing == ("layer2.0.bn1.running_var",)
    assert not conversion.complete
    assert "decode_head.weight" in str(conversion)


def test_single_keys_are_named_and_families_counted():
    tensors = ResNet(BasicBlock, SHALLOW).state_dict()
    tensors["layer3.0.conv1.wieght"] = tensors.pop("layer3.0.conv1.weight")
    tensors |= {f"decode_head.{index}.weight": torch.zeros(1) for index in range(3)}
    report = str(to_ours(tensors)).splitlines()
    assert {"  layer3.0.conv1.wieght", "  layer3.0.conv1.weight", "  decode_head.*.weight  x 3"} <= set(report)


def test_a_wrong_shape_names_key_shapes_and_nearest():
    tensors = {f"backbone.{key}": value for key, value in ResNet(BasicBlock, SHALLOW).state_dict().items()}
    tensors["backbone.layer3.0.bn1.weight"] = torch.zeros(99)
    message = (
        r"'backbone\.layer3\.0\.bn1\.weight' is \[99\] in the file and \[256\] in the model, "
        r"there 'layer3\.0\.bn1\.weight'; nearest of that shape: 'backbone\.layer3\.0\.bn2\.weight'"
    )
    with pytest.raises(ValueError, match=message):
        to_ours(tensors)


def test_a_host_of_another_width_is_told_by_the_host():
    narrow = {key: value[:16] for key, value in ResNet(BasicBlock, SHALLOW).state_dict().items() if value.dim()}
    narrow |= {f"layer4.0.context_block.{key}": value for key, value in gcnet.SqueezeExcite(16).state_dict().items()}
    with pytest.raises(ValueError, match=r"'conv1\.weight' is \[16, 3, 7, 7\] in the file and \[64, 3, 7, 7\]"):
        to_ours(narrow)


def test_a_network_that_tensors_do_not_tell_is_said_to_be_missing():
    three_stages = {k: v for k, v in ResNet(BasicBlock, SHALLOW).state_dict().items() if "layer4" not in k}
    assert "give it to gcnet.load as model=" in str(to_ours(three_stages))
    assert "model=" not in str(to_ours(ResNet(BasicBlock, SHALLOW).state_dict()))
    assert "model=" not in str(to_ours(gcnet.SqueezeExcite(32).state_dict()))


def test_options_of_no_use_are_errors():
    tensors = ResNet(BasicBlock, SHALLOW).state_dict()
    with pytest.raises(ValueError, match=r"stile='caffe' is of no use .* did you mean 'style'"):
        to_ours(tensors, options={"stile": "caffe"})
    with pytest.raises(ValueError, match="style='caffe' goes with bottlenecks"):
        to_ours(tensors, options={"style": "caffe"})
    with pytest.raises(ValueError, match="unknown layout 'tim ResNet', did you mean 'timm ResNet'"):
        to_ours(tensors, layout="tim ResNet")


def test_keys_of_no_layout_get_a_short_answer():
    with pytest.raises(ValueError, match=r"no layout fits these 1 keys \(a \.\.\.\); gcnet convert --list names all"):
        to_ours({"a": torch.zeros(1)})
    with pytest.raises(ValueError, match="unknown layout 'zzz'; gcnet convert --list names all"):
        to_ours({"a": torch.zeros(1)}, layout="zzz")


def test_what_the_target_cannot_express_is_refused():
    model = resnet(SHALLOW, num_classes=0, stride_in_1x1=True)
    with pytest.raises(ValueError, match="timm ResNet strides in the 3x3"):
        to_theirs(model, layout="timm ResNet")
    model = resnet(SHALLOW, num_classes=0)
    gcnet.insert(model, gcnet.SqueezeExcite.spec(ratio=1 / 4), stages="c5", position="after_add")
    with pytest.raises(ValueError, match="applied after_add, timm ResNet does so after_1x1"):
        to_theirs(model, layout="timm ResNet")
    gcnet.remove(model)
    gcnet.insert(model, gcnet.SqueezeExcite.spec(ratio=1 / 4), stages="c5", position="after_1x1")
    with pytest.raises(ValueError, match="gate='centred'"):
        to_theirs(model, layout="timm ResNet")
    with pytest.raises(ValueError, match="needs the architecture"):
        to_theirs(model.state_dict(), layout="timm ResNet")
    assert Architecture.of(model).placed


def test_style_and_position_are_reported_where_the_target_does_not_tell_them():
    model = resnet(SHALLOW, num_classes=0, stride_in_1x1=True)
    spec = gcnet.GlobalContext.spec(ratio=1 / 16, init="published")
    gcnet.insert(model, spec, stages="c5", position="after_block")
    conversion = to_theirs(model, layout="mm ResNet")
    assert conversion.needs == {
        "backbone": ("style='caffe'",),
        "backbone.layer4.0.context_block": ("position after_block",),
    }
    assert "  backbone: style='caffe'  x 1" in str(conversion)


def test_another_activation_is_refused_where_it_is_fixed():
    model = resnet(SHALLOW, num_classes=0)
    spec = gcnet.SqueezeExcite.spec(ratio=1 / 4, activation="silu", init="published", gate="published")
    gcnet.insert(model, spec, stages="c5", position="after_1x1")
    assert to_theirs(model, layout="timm ResNet").complete
    with pytest.raises(ValueError, match=r"senet\.pytorch SELayer has activation='relu' only, not 'silu'"):
        to_theirs(model, layout="senet.pytorch ResNet")


def test_what_the_target_must_be_built_with_is_reported():
    model = resnet(SHALLOW, num_classes=0)
    gcnet.insert(model, gcnet.NonLocal.spec(), stages="c5", position="after_1x1")
    conversion = to_theirs(model, layout="mm ResNet")
    assert conversion.needs == {"backbone.layer4.0.nonlocal_block": ("use_scale=False",)}
    assert "backbone.layer*.*.nonlocal_block: use_scale=False  x 1" in str(conversion)
    assert conversion.to_dict()["needs"] == {"backbone.layer4.0.nonlocal_block": ["use_scale=False"]}


def test_the_published_context_block_is_written_as_it_is():
    model = resnet(SHALLOW, num_classes=0)
    gcnet.insert(model, gcnet.ContextBlock.spec(init="published"), stages="c5", position="after_1x1")
    randomise(model)
    theirs = to_theirs(model, layout="mm ResNet")
    key = "layer4.0.context_block.channel_add_conv.0.weight"
    assert torch.equal(theirs.tensors[f"backbone.{key}"], model.state_dict()[key])
    ours = to_ours(theirs.tensors)
    x = samples(32, 32)
    network = ours.architecture.build().double().eval()
    network.load_state_dict(ours.tensors)
    with torch.no_grad():
        torch.testing.assert_close(network(x), model(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("lost", ["weight", "bias"])
def test_half_a_key_projection_is_missing_the_other_half(lost):
    model = resnet(SHALLOW, num_classes=0)
    spec = gcnet.GlobalContext.spec(ratio=1 / 4, init="published")
    gcnet.insert(model, spec, stages="c5", position="after_1x1")
    tensors = to_theirs(model, layout="mm ResNet").tensors
    del tensors[f"backbone.layer4.0.context_block.conv_mask.{lost}"]
    conversion = to_ours(tensors)
    assert len(conversion.missing) == 1
    assert not conversion.unused
