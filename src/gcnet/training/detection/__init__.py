"""Object detection and instance segmentation on data in COCO's format."""
