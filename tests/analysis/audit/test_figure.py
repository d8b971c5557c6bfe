"""What is drawn where."""

import pytest
import torch
from matplotlib import image
from torch import nn

from gcnet import GlobalContext, NonLocal
from gcnet.analysis.audit import Audit, BlockAudit, Interval, audit
from gcnet.analysis.audit.figure import draw_audit


@pytest.fixture
def figures(monkeypatch):
    """The figures that are written."""
    from matplotlib.figure import Figure

    written, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, path: (written.append(self), save(self, path)))
    return written


def test_files_of_a_column_and_of_a_page(tmp_path):
    def layers(count):
        return Audit(
            tuple(
                BlockAudit(f"layer{n}", "non_local", "gaussian", None, (4, 4), 9, Interval(0.4, 0.3, 0.45, 9))
                for n in range(count)
            ),
            9,
        )

    widths = []
    for count in (1, 10, 11):
        draw_audit(layers(count), tmp_path / "audit.png")
        widths.append(image.imread(tmp_path / "audit.png").shape[1])
    assert widths == [1050, 1050, 2160]
    draw_audit(layers(2), tmp_path / "audit.svg")
    assert "<svg" in (tmp_path / "audit.svg").read_text()


def test_points_and_intervals_are_the_audit_s(tmp_path, figures):
    block = NonLocal(6)
    nn.init.normal_(block.out.weight)
    found = audit(nn.Sequential(block, GlobalContext(6, 1 / 2)), [torch.randn(5, 6, 4, 4)])
    draw_audit(found, tmp_path / "audit.png")
    (axis,) = figures[0].axes
    drawn = [tuple(float(y) for y in line.get_ydata()) for line in axis.lines]
    for name in ("input", "output", "attention", "divergence"):
        interval = getattr(found.blocks[0], name)
        assert (interval.mean,) in drawn
        assert (interval.low, interval.high) in drawn
    assert drawn.count((0.0,)) == 3  # hollow, of the block with one map
    labels = [text.get_text() for text in figures[0].legends[0].get_texts()]
    assert labels[-1] == "0 by construction"
    assert [label.get_text() for label in axis.get_xticklabels()] == ["0", "1"]


def test_heads_lie_behind_the_mean_of_their_layer(tmp_path, figures):
    layer = BlockAudit("a.attn", "attention", None, None, (4, 4), 1, attention=Interval(0.2, None, None, 1))
    heads = [
        BlockAudit("a.attn", "attention", None, head, (4, 4), 1, attention=Interval(mean, None, None, 1))
        for head, mean in enumerate((0.1, 0.3))
    ]
    draw_audit(Audit((layer, *heads), 1, model="a" * 50), tmp_path / "audit.png")
    (axis,) = figures[0].axes
    assert [line.get_ydata()[0] for line in axis.lines] == [0.2, 0.1, 0.3]
    assert [line.get_xdata()[0] for line in axis.lines] == [pytest.approx(0.075)] * 3
    assert [line.get_alpha() for line in axis.lines] == [None, 0.3, 0.3]
    assert axis.get_title() == "..." + "a" * 33 + ", 1 image"
    assert figures[0].legends[0].get_texts()[-1].get_text() == "single heads"
