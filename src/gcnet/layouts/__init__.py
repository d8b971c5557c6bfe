"""How other libraries name and shape the weights of the blocks that are ours too, and of whole networks."""

from gcnet.layouts import (
    alexhex7,
    gcnet,
    gcnet_repository,
    mask_rcnn,
    mmaction,
    mmcv,
    mmdetection,
    resnet,
    senet_pytorch,
    slowfast,
    timm,
    torchvision,
)
from gcnet.layouts.network import NetworkLayout
from gcnet.layouts.table import BlockLayout, Foreign, Key, Reading, qualified_name, to_ours, to_theirs

#: Qualified class name -> what that class is in our words.
FOREIGN: dict[str, Foreign] = {
    foreign.name: foreign for foreign in (*timm.FOREIGN, *torchvision.FOREIGN, *mmcv.FOREIGN)
}
#: Name -> layout of a block, read off its tensors. Where several share their keys, the likelier comes first.
BLOCK_LAYOUTS: dict[str, BlockLayout] = {
    layout.name: layout
    for source in (gcnet, mmcv, gcnet_repository, mmdetection, timm, torchvision, senet_pytorch, alexhex7, slowfast)
    for layout in source.BLOCK_LAYOUTS
}
#: Name -> layout of a whole network, or of a block alone or inside any host, which keeps its names.
NETWORK_LAYOUTS: dict[str, NetworkLayout] = {
    layout.name: layout
    for layout in (
        *mmdetection.NETWORK_LAYOUTS,
        mask_rcnn.MASK_RCNN,
        *resnet.NETWORK_LAYOUTS,
        mmaction.RESNET_3D,
        *(NetworkLayout(name, marks=(), renames=(), in_place=(name,)) for name in BLOCK_LAYOUTS),
    )
}

__all__ = [
    "BLOCK_LAYOUTS",
    "FOREIGN",
    "NETWORK_LAYOUTS",
    "BlockLayout",
    "Foreign",
    "Key",
    "NetworkLayout",
    "Reading",
    "qualified_name",
    "to_ours",
    "to_theirs",
]
