"""How other libraries name and shape the weights of the blocks that are ours too."""

from gcnet.layouts import mmcv, timm, torchvision
from gcnet.layouts.table import Foreign, Key, Reading, qualified_name, to_ours, to_theirs

#: Qualified class name -> what that class is in our words.
FOREIGN: dict[str, Foreign] = {
    foreign.name: foreign for foreign in (*timm.FOREIGN, *torchvision.FOREIGN, *mmcv.FOREIGN)
}

__all__ = ["FOREIGN", "Foreign", "Key", "Reading", "qualified_name", "to_ours", "to_theirs"]
