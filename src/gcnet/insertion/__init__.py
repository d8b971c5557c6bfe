"""Putting blocks into a built model, working with it, and taking them out again."""

from gcnet.insertion.insert import insert, remove
from gcnet.insertion.plan import Plan, Site, plan
from gcnet.insertion.report import Added, Report, Status
from gcnet.insertion.state import (
    Loaded,
    added_parameters,
    added_state_dict,
    disable,
    disabled,
    enable,
    load_host,
    param_groups,
    status,
)
from gcnet.insertion.swap import SwapReport, swap

__all__ = [
    "Added",
    "Loaded",
    "Plan",
    "Report",
    "Site",
    "Status",
    "SwapReport",
    "added_parameters",
    "added_state_dict",
    "disable",
    "disabled",
    "enable",
    "insert",
    "load_host",
    "param_groups",
    "plan",
    "remove",
    "status",
    "swap",
]
