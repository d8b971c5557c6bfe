"""Ready networks assembled from torchvision parts: classifiers, Mask R-CNN with FPN, and 2D networks made 3D."""

try:
    import torchvision as _torchvision  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError('gcnet.models needs torchvision: pip install "gcnet[models]"', name=error.name) from error

from gcnet.models.classifiers import resnet50, resnet101, resnext101_32x4d
from gcnet.models.detectors import mask_rcnn
from gcnet.models.inflate import inflate
from gcnet.models.video import slow_only_r50

__all__ = ["inflate", "mask_rcnn", "resnet50", "resnet101", "resnext101_32x4d", "slow_only_r50"]
