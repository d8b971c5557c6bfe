"""How much the attention of a network depends on the query, measured over images."""

from gcnet.analysis.audit.figure import draw_audit
from gcnet.analysis.audit.measure import audit
from gcnet.analysis.audit.report import Audit, BlockAudit
from gcnet.analysis.bootstrap import Interval

__all__ = ["Audit", "BlockAudit", "Interval", "audit", "draw_audit"]
