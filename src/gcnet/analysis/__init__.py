"""What a network costs and what its blocks do."""

from gcnet.analysis.cost import Cost, ModuleCost, cost

__all__ = ["Cost", "ModuleCost", "cost"]
