"""The parity tests of the Triton kernels need an interpreter that is chosen before triton is imported."""

import os

collect_ignore = [] if os.environ.get("TRITON_INTERPRET") == "1" else ["triton_parity.py"]
