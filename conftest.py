"""Doctests are collected by importing every module: those of the Triton kernels only where triton is installed."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("triton") else ["src/gcnet/ops/context/triton/*"]
