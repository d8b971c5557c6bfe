"""A detector of the smallest size."""

from pathlib import Path

from gcnet.training.detection.config import DetectionConfig

TINY = {
    "backbone": "resnet18",
    "block": "gc",
    "stages": ("c5",),
    "epochs": 1,
    "batch_size": 2,
    "lr": 1e-3,
    "weight_decay": 1e-4,
    "image_size": (64,),
    "max_size": 96,
    "channels": 16,
    "anchor_scale": 4.0,
    "proposals": 20,
    "rois": 16,
    "workers": 0,
    "max_detections": 10,
}


def config(data, **options):
    for name in ("train_annotations", "train_images", "val_annotations", "val_images"):
        if name in options:
            options[name] = Path(options[name])
    return DetectionConfig(data=data, **{**TINY, **options})
