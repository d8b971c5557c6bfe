"""Ready networks assembled from torchvision parts: classifiers, detectors, segmenters, and 2D networks made 3D."""

from importlib.util import find_spec

if find_spec("torchvision") is None:
    raise ModuleNotFoundError('gcnet.models needs torchvision: pip install "gcnet[models]"', name="torchvision")

from gcnet.models.classifiers import resnet20_w16, resnet50, resnet101, resnext101_32x4d
from gcnet.models.detectors import faster_rcnn, mask_rcnn
from gcnet.models.inflate import inflate
from gcnet.models.segmenters import segmenter
from gcnet.models.video import i3d, i3d_r50, non_local_places, slow_only, slow_only_r50

__all__ = [
    "faster_rcnn",
    "i3d",
    "i3d_r50",
    "inflate",
    "mask_rcnn",
    "non_local_places",
    "resnet20_w16",
    "resnet50",
    "resnet101",
    "resnext101_32x4d",
    "segmenter",
    "slow_only",
    "slow_only_r50",
]
