"""Seeing the attention of a network while it runs."""

from gcnet.analysis.capture.maps import Maps
from gcnet.analysis.capture.record import KINDS, POOLED, Captured
from gcnet.analysis.capture.session import capture

__all__ = ["KINDS", "POOLED", "Captured", "Maps", "capture"]
