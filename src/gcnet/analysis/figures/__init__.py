"""Attention drawn for a paper: maps of query points over pictures and clips."""

from gcnet.analysis.figures.grid import attention_figure
from gcnet.analysis.figures.maps import AttentionMap, choose_block
from gcnet.analysis.figures.points import choose_points, parse_points
from gcnet.analysis.figures.rows import AttentionRow, Panel, attention_row
from gcnet.analysis.figures.sheet import save_figure
from gcnet.analysis.figures.strip import attention_strip

__all__ = [
    "AttentionMap",
    "AttentionRow",
    "Panel",
    "attention_figure",
    "attention_row",
    "attention_strip",
    "choose_block",
    "choose_points",
    "parse_points",
    "save_figure",
]
