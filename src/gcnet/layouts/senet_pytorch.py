"""Blocks of moskomule/senet.pytorch."""

from __future__ import annotations

from gcnet.layouts.squeeze_excite import squeeze_excite_layout
from gcnet.layouts.table import conv

SE_LAYER = (*conv("fc.0", "scale.reduce", 0), *conv("fc.2", "scale.expand", 0))
BLOCK_LAYOUTS = (squeeze_excite_layout("senet.pytorch SELayer", SE_LAYER, bias=(False,)),)
