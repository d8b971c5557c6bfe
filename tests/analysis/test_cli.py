import json

import pytest

from gcnet.analysis.cli import cost


def _printed(capsys, *argv):
    assert cost(list(argv)) == 0
    return capsys.readouterr().out


def test_what_blocks_add_to_each_stage(capsys):
    text = _printed(capsys, "resnet50", "--block", "gc", "--ratio", "1/16", "--stages", "c3-c5")
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line}
    assert "13 x GlobalContext.spec(" in text
    assert lines["c2"] == ["c2", "215.808", "k", "667.943", "M", *lines["c2"][5:7]]
    assert lines["c3"][3:5] == ["+135.556", "k"]
    assert lines["total"][:5] == ["total", "25.557", "M", "+2.522", "M"]
    assert "blocks: +9.87 % parameters, +0.21 % multiply-adds" in text


def test_json_of_a_comparison(capsys):
    argv = ("--block", "gc", "--ratio", "1/4", "--stages", "c4", "--blocks", "-2", "--position", "after_add")
    found = json.loads(_printed(capsys, "resnet50", *argv, "--input", "3x64x96", "--json"))
    assert found["backbone"] == "resnet50"
    assert found["input"] == [1, 3, 64, 96]
    assert found["difference"]["params"] == 527_105
    (block,) = found["with_block"]["blocks"]
    assert block["path"] == "layer3.4.context_block"
    assert block["macs"] == found["difference"]["macs"] == 2 * 4 * 6 * 1024 + 2 * 1024 * 256
    assert found["host"]["blocks"] == []
    assert found["host"]["params"] == found["with_block"]["host"]["params"] == 25_557_032


def test_plain_networks_of_every_kind(capsys):
    for name, total in (
        ("slow_only_r50", "32.454 M"),
        ("timm:convnext_tiny", "28.589 M"),
        ("mask_rcnn:resnext101_32x4d", "63.021 M"),
        ("ssdlite320_mobilenet_v3_large", "3.440 M"),
        ("r3d_18", "33.371 M"),
    ):
        last = _printed(capsys, name, "--block", "none").splitlines()[-1]
        assert last.split()[:3] == ["total", *total.split()]


def test_blocks_by_pattern(capsys):
    text = _printed(capsys, "timm:convnext_tiny", "--block", "se", "--match", "stages.*.blocks.*")
    assert "18 x SqueezeExcite.spec(" in text


def test_the_paper_as_json(capsys):
    rows = json.loads(_printed(capsys, "--paper", "--json"))
    assert len(rows) == 38
    for row in rows:
        assert isinstance(row["table"], str)
        assert isinstance(row["row"], str)
        assert isinstance(row["paper"], float)
        assert isinstance(row["params"], int)
        assert isinstance(row["equal"], bool)
    assert sum(not row["equal"] for row in rows) == 5


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["resnet5"], "unknown backbone 'resnet5'; did you mean resnet50"),
        (["timm:convnext_tin"], "did you mean timm:convnext_tiny"),
        (["mask_rcnn:resnet5"], "unknown backbone 'resnet5'; did you mean resnet50"),
        (["mask_rcnn:vgg16"], "takes a torchvision ResNet"),
        (["resnet50", "--block", "gcc"], "did you mean 'gc'"),
        (["resnet50", "--stages", "c3-c6"], "stage='c6' is not one of 'c2', 'c3', 'c4', 'c5'"),
        (["resnet50", "--stages", "c5-c3"], "write c3-c5"),
        (["resnet50", "--ratio", "1/0"], "ratio '1/0' is not a number such as 1/16"),
        (["resnet50", "--input", "224,224"], "input '224,224' is not the size of one sample"),
        (["resnet50", "--position", "after_1x"], "after_1x1"),
        (["timm:vit_tiny_patch16_224"], "match"),
        ([], "name a backbone, such as resnet50, or give --paper"),
    ],
)
def test_errors(capsys, argv, message):
    assert cost(argv) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert message in printed.err


def test_an_input_that_does_not_fit_is_one_line(capsys):
    assert cost(["resnet50", "--block", "none", "--input", "1x224x224"]) == 2
    printed = capsys.readouterr().err
    assert "does not run on an input of [1, 1, 224, 224]" in printed
    assert "Traceback" not in printed
