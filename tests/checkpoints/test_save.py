"""Saving: one file rebuilds a model bit for bit, and what cannot be saved says why."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import nn
from torchvision.models import resnet50

import gcnet
from gcnet.checkpoints.reader import read
from gcnet.models import mask_rcnn
from gcnet.models.classifiers import resnet
from tests.blocks.cases import CASES
from tests.checkpoints.nets import BLOCKS, features, image, inserted, swapped, tiny, video

each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def assert_same(loaded, model, *inputs):
    assert type(loaded) is type(model)
    assert gcnet.status(loaded) == gcnet.status(model)
    state = model.state_dict()
    assert list(loaded.state_dict()) == list(state)
    for key, value in loaded.state_dict().items():
        assert value.dtype == state[key].dtype
        assert torch.equal(value, state[key])
    with torch.no_grad():
        # A copy has its weights at whole cache lines, as the model has: some convolutions round by where they lie.
        assert torch.equal(copy.deepcopy(loaded)(*inputs), model(*inputs))


@each
def test_every_block_inserted_into_a_network(case, path):
    model = inserted(case.spec())
    loaded = gcnet.load(gcnet.save(model, path))
    assert_same(loaded, model, image())
    assert repr(loaded) == repr(model)
    assert not any(module.training for module in loaded.modules())
    gcnet.enable(model)
    assert not torch.equal(loaded(image()), model(image())), "the disabled block must matter"


@each
def test_every_block_alone(case, path):
    block = BLOCKS[case.name]()
    assert_same(gcnet.load(gcnet.save(block, path)), block, features())


@pytest.mark.parametrize("dims", [1, 3])
def test_a_block_of_another_rank(dims, path):
    block = gcnet.BAM(32, dims=dims).eval()
    loaded = gcnet.load(gcnet.save(block, path))
    assert loaded.dims == dims
    assert loaded.specification == block.specification


def test_swapped(path):
    model = swapped()
    assert_same(gcnet.load(gcnet.save(model, path)), model, image(64))


def test_swapped_timm_with_its_blocks_inside_of_blocks(path):
    timm = pytest.importorskip("timm")
    model = timm.create_model("gcresnet50t", num_classes=3).eval()
    gcnet.swap(model)
    gcnet.insert(model, gcnet.SqueezeExcite.spec(), match="stages.3.*.attn")
    for parameter in gcnet.added_parameters(model):
        nn.init.normal_(parameter, std=0.1)
    assert_same(gcnet.load(gcnet.save(model, path)), model, image(64))


def test_video(path):
    model = video()
    loaded = gcnet.load(gcnet.save(model, path))
    assert_same(loaded, model, torch.randn(1, 3, 4, 32, 32))
    assert loaded.layer3[0].context_block.dims == 3


def test_detector(path):
    model = mask_rcnn(resnet((1, 1, 1, 1)), 3, min_size=64, max_size=64, box_score_thresh=0.0).eval()
    gcnet.insert(model, gcnet.GlobalContext.spec(ratio=1 / 16), stages="c5")
    for parameter in gcnet.added_parameters(model):
        nn.init.normal_(parameter, std=0.1)
    loaded = gcnet.load(gcnet.save(model, path))
    x = [image(64)[0]]
    with torch.no_grad():
        (found,), (expected,) = loaded(x), model(x)
    assert len(expected["boxes"]) > 0
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_dtypes(dtype, path):
    model = inserted(gcnet.GlobalContext.spec(ratio=1 / 8))
    model.layer2.to(dtype)
    loaded = gcnet.load(gcnet.save(model, path))
    assert [p.dtype for p in loaded.parameters()] == [p.dtype for p in model.parameters()]
    assert loaded.bn1.num_batches_tracked.dtype == torch.int64


def test_buffers_that_are_not_saved_are_made_anew(path):
    timm = pytest.importorskip("timm")
    model = timm.create_model("swin_tiny_patch4_window7_224", num_classes=3, img_size=56).eval()
    host = {"name": "timm:swin_tiny_patch4_window7_224", "options": {"num_classes": 3, "img_size": 56}}
    assert_same(gcnet.load(gcnet.save(model, path, host=host)), model, image(56))


def test_ties_stay(path):
    model = resnet((1, 3, 1, 1), block="basic", num_classes=4).eval()
    model.layer2[2].conv1.weight = model.layer2[1].conv1.weight
    gcnet.insert(model, gcnet.NonLocal.spec(norm=True), stages="c3")
    first, second = model.layer2[1].context_block, model.layer2[2].context_block
    second.key = first.key
    second.norm = first.norm
    gcnet.save(model, path)
    assert "layer2.2.conv1.weight" not in read(path).tensors
    loaded = gcnet.load(path)
    assert_same(loaded, model, image())
    assert loaded.layer2[2].conv1.weight is loaded.layer2[1].conv1.weight
    assert loaded.layer2[2].context_block.key.bias is loaded.layer2[1].context_block.key.bias
    assert loaded.layer2[2].context_block.norm.running_mean is loaded.layer2[1].context_block.norm.running_mean
    assert len(list(loaded.parameters())) == len(list(model.parameters()))


def test_wrappers_are_taken_off(path):
    model = inserted(gcnet.GlobalContext.spec(ratio=1 / 8))
    for wrapped in (nn.DataParallel(model), torch.compile(model, backend="eager")):
        assert_same(gcnet.load(gcnet.save(wrapped, path, overwrite=True)), model, image())


def test_synchronised_norms_come_back_plain(path):
    model = nn.SyncBatchNorm.convert_sync_batchnorm(inserted(gcnet.NonLocal.spec(norm=True))).eval()
    loaded = gcnet.load(gcnet.save(model, path))
    assert not any(isinstance(module, nn.SyncBatchNorm) for module in loaded.modules())
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.state_dict().items())


def test_names_that_look_like_wrappers_stay(path):
    model = nn.Module()
    model.model = nn.Sequential(nn.Conv2d(3, 16, 1), gcnet.GlobalContext(16, 1 / 4))
    gcnet.save(model, path)
    other = nn.Module()
    other.model = nn.Sequential(nn.Conv2d(3, 16, 1), gcnet.GlobalContext(16, 1 / 4))
    gcnet.load(path, other)
    assert torch.equal(other.model[0].weight, model.model[0].weight)


def test_pth(tmp_path):
    model = inserted(gcnet.GlobalContext.spec(ratio=1 / 8))
    assert_same(gcnet.load(gcnet.save(model, tmp_path / "model.pth")), model, image())


def test_metadata(path):
    gcnet.save(inserted(gcnet.GlobalContext.spec(ratio=1 / 8)), path)
    description = json.loads(read(path).metadata["gcnet"])
    assert description["format"] == 1
    assert description["gcnet"] == gcnet.__version__
    assert description["torch"] == torch.__version__
    assert description["architecture"]["host"]["name"] == "resnet"
    assert [block["enabled"] for block in description["architecture"]["placed"]] == [False, True, True]


def test_the_random_state_is_left_alone(path):
    model = inserted(gcnet.GlobalContext.spec(ratio=1 / 8))
    before = torch.get_rng_state()
    gcnet.load(gcnet.save(model, path))
    assert torch.equal(torch.get_rng_state(), before)


# hosts that are not recognised


class Dilated(nn.Module):
    """Not a network that anybody knows."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 16, 3, dilation=2), nn.ReLU())

    def forward(self, x):
        return self.body(x)


def test_an_unknown_host_loads_into_one_alike(path):
    model = Dilated().eval()
    gcnet.insert(model, gcnet.GlobalContext.spec(ratio=1 / 4), match="body.1")
    nn.init.normal_(model.body[1].context_block.add.expand.weight)
    gcnet.save(model, path)
    with pytest.raises(ValueError, match="give the host itself as model="):
        gcnet.load(path)
    host = Dilated().eval()
    assert gcnet.load(path, host) is host
    assert_same(host, model, image())


def test_a_host_by_name(path):
    model = resnet50(replace_stride_with_dilation=[False, False, True], num_classes=3).eval()
    host = {
        "name": "torchvision:resnet50",
        "options": {"replace_stride_with_dilation": [False, False, True], "num_classes": 3},
    }
    assert_same(gcnet.load(gcnet.save(model, path, host=host)), model, image(64))
    with pytest.raises(ValueError, match=r"builds another network: 'layer4.0' has stride=1, not 2"):
        gcnet.save(model, path, host="torchvision:resnet50", overwrite=True)


# what cannot be saved


def test_only_what_was_added_needs_blocks(path):
    with pytest.raises(ValueError, match="has no blocks"):
        gcnet.save(tiny(), path, added_only=True)
    assert not path.exists()


def test_a_changed_block(path):
    model = inserted(gcnet.GlobalContext.spec(ratio=1 / 8))
    model.layer2[0].context_block.add.norm.eps = 1e-3
    with pytest.raises(ValueError, match=r"'layer2.0.context_block' was changed after it was built.*eps=0.001"):
        gcnet.save(model, path)


def test_a_block_of_ones_own(path):
    class Own(gcnet.GlobalContext):
        pass

    with pytest.raises(ValueError, match="Own is not a block of gcnet"):
        gcnet.save(Own(64), path)


def test_no_weights(path):
    with pytest.raises(ValueError, match=r"'conv1.weight' is on the meta device"):
        gcnet.save(resnet((1, 1, 1, 1), device="meta"), path)


def test_sharded(path):
    class FSDPModule:
        pass

    model = tiny()
    model.layer1.__class__ = type("FSDPSequential", (FSDPModule, nn.Sequential), {})
    with pytest.raises(ValueError, match=r"'layer1' is sharded.*full_state_dict=True"):
        gcnet.save(model, path)


def test_a_file_is_not_overwritten_unasked(path):
    gcnet.save(gcnet.SqueezeExcite(32), path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="overwrite=True"):
        gcnet.save(gcnet.SqueezeExcite(32), path)
    assert path.read_bytes() == before
    gcnet.save(gcnet.SqueezeExcite(64), path, overwrite=True)
    assert gcnet.load(path).channels == 64


@pytest.mark.parametrize("host", [3, ["timm:resnet50"]])
def test_hosts_of_another_type(host, path):
    with pytest.raises(TypeError, match="must be a name such as"):
        gcnet.save(tiny(), path, host=host)


def test_a_host_that_is_not_recognised_is_warned_of(path, caplog):
    model = tiny()
    gcnet.save(model, path)
    gcnet.save(gcnet.SqueezeExcite(32), path, overwrite=True)
    assert not caplog.records
    model.layer1[0].relu = nn.GELU()
    gcnet.save(model, path, overwrite=True)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "gcnet.load(path, model=...)" in record.getMessage()
