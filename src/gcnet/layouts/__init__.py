"""How other libraries name and shape the weights of the blocks that are ours too."""

from gcnet.layouts import alexhex7, gcnet_repository, mmcv, senet_pytorch, slowfast, timm, torchvision
from gcnet.layouts.table import BlockLayout, Foreign, Key, Reading, qualified_name, to_ours, to_theirs

#: Qualified class name -> what that class is in our words.
FOREIGN: dict[str, Foreign] = {
    foreign.name: foreign for foreign in (*timm.FOREIGN, *torchvision.FOREIGN, *mmcv.FOREIGN)
}
#: Name -> layout of a block, read off its tensors. Where several share their keys, the likelier comes first.
BLOCK_LAYOUTS: dict[str, BlockLayout] = {
    layout.name: layout
    for source in (mmcv, gcnet_repository, timm, torchvision, senet_pytorch, alexhex7, slowfast)
    for layout in source.BLOCK_LAYOUTS
}

__all__ = [
    "BLOCK_LAYOUTS",
    "FOREIGN",
    "BlockLayout",
    "Foreign",
    "Key",
    "Reading",
    "qualified_name",
    "to_ours",
    "to_theirs",
]
