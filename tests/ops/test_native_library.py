"""Finding the compiled kernels, and going on without them."""

import logging
import warnings

import pytest
import torch

import gcnet
from gcnet.ops import native_library


@pytest.fixture
def nothing_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(native_library, "FOLDER", tmp_path)
    native_library.library.cache_clear()
    yield tmp_path
    native_library.library.cache_clear()


def test_without_kernels_it_says_so_once_and_uses_aten(nothing_installed, caplog):
    block, x = gcnet.GlobalContext(32), torch.randn(2, 32, 5, 5)
    with pytest.warns(UserWarning, match="without its native CPU kernels"), caplog.at_level(logging.DEBUG, "gcnet"):
        y = block(x)
    assert caplog.records[-1].getMessage() == "global_context: eager"
    assert torch.equal(y, x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        block(x)
    with pytest.raises(RuntimeError, match="installed without"), gcnet.ops.backend("native"):
        pass


def test_a_file_that_is_no_library(nothing_installed):
    (nothing_installed / "_native_avx2.so").write_bytes(b"not a library")
    with pytest.warns(UserWarning, match="without its native CPU kernels"):
        assert native_library.library() is None
