"""From one map per query to one map for all: non-local blocks whose attention does not depend on the query."""

from gcnet.analysis.collapse.replace import collapse
from gcnet.analysis.collapse.report import CollapsedBlock, CollapseReport, LeftBlock, QueryDependentError

__all__ = ["CollapseReport", "CollapsedBlock", "LeftBlock", "QueryDependentError", "collapse"]
