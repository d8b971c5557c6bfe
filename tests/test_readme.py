"""README's Python runs as printed, and prints what README shows."""

import re
from pathlib import Path

import pytest
import torch

from tests.models.mmdetection_reference import detector_shapes, random_state

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_python_blocks_run_and_print_what_is_shown(tmp_path, monkeypatch, capsys):
    pytest.importorskip("torchvision")
    resnet = pytest.importorskip("timm.models.resnet")
    monkeypatch.chdir(tmp_path)
    detector = random_state(detector_shapes(2, depths=(1, 1, 1, 1), classes=3), dtype=torch.float32)
    torch.save({"state_dict": detector}, "mask_rcnn_r50_fpn_gcb.pth")
    classifier = resnet.ResNet(resnet.Bottleneck, (1, 1, 1, 1), block_args={"attn_layer": "se"})
    torch.save(classifier.state_dict(), "seresnet50.pth")
    code = "\n".join(re.findall(r"```python\n(.*?)```", README, re.DOTALL))
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    shown = re.search(r"```\n(GlobalContext\.spec.*?)```", README, re.DOTALL)
    assert shown is not None
    for line in shown[1].splitlines():
        assert line == "..." or line in printed.splitlines()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", README))))
def test_links_lead_somewhere(path):
    assert (Path(__file__).parents[1] / path).exists()
