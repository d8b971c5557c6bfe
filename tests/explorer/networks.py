"""A network small enough for a page under test, and what it attends to, written down a second time."""

import torch
from PIL import Image
from torch import nn
from torchvision.transforms.v2.functional import center_crop, pil_to_tensor

import gcnet
from gcnet.study.subject import Subject, View

SIDE = 64
GRID = 16


def make_net(seed=0):
    """The blocks lie at 1 (NL), 2 (GC) and 3 (NL with sub-sampled keys)."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(3, 8, SIDE // GRID, stride=SIDE // GRID),
        gcnet.NonLocal(8),
        gcnet.GlobalContext(8, hidden=4),
        gcnet.NonLocal(8, pairwise="dot_product", subsample="after"),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    ).eval()
    for parameter in net.parameters():
        parameter.data = 0.7 * torch.randn_like(parameter)
    return net


def see(source):
    picture = source if isinstance(source, Image.Image) else Image.open(source).convert("RGB")
    pixels = center_crop(pil_to_tensor(picture), [SIDE, SIDE])
    return View("picture", pixels / 128 - 1, pixels)


def make_subject(seed=0, **fields):
    net = make_net(seed)
    return Subject(f"net {seed}", net, see, net, **{"classes": ("ant", "bee", "cat"), **fields})


def expected_map(net, picture):
    """Rows of the block at 1 in units of uniform attention: [P, P], in float64."""
    with torch.no_grad():
        x = net[0](see(picture).input[None])[0].flatten(1).double()
        query, key = (
            projection.weight.double() @ x + projection.bias.double()[:, None]
            for projection in (net[1].query, net[1].key)
        )
        scale = 1.0 if net[1].scale is None else net[1].scale
        logits = scale * query.T @ key
        weights = torch.exp(logits - logits.max())
        return weights / weights.sum(1, keepdim=True) * x.shape[1]


def photo(seed=0, size=(80, 72)):
    values = torch.randint(0, 256, (size[1] // 8, size[0] // 8, 3), generator=torch.Generator().manual_seed(seed))
    return Image.fromarray(values.byte().numpy()).resize(size, Image.Resampling.NEAREST)


def make_clip_subject():
    """Sees 4 frames of any file; the block at 1 has 2 x 4 x 3 positions."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv3d(3, 8, (2, 8, 8), stride=(2, 8, 8)), gcnet.NonLocal(8)).eval()
    clip = torch.randint(0, 256, (3, 4, 32, 24), dtype=torch.uint8)
    return Subject("clips", net, lambda source: View("clip", clip / 128 - 1, clip), net, kind="video")
