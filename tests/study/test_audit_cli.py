"""gcnet audit over runs, files and names."""

import json

import pytest
import torch
from PIL import Image

pytest.importorskip("lightning")

from gcnet.analysis.audit import Audit, audit
from gcnet.cli import main
from gcnet.study.subject import open_subject
from tests.study.saved_runs import save_run
from tests.study.test_subject import photos


@pytest.fixture
def pictures(tmp_path):
    """Twelve pictures of noise in the validation part, one of training."""
    folder = tmp_path / "photos"
    for part, count in (("val", 12), ("train", 1)):
        (folder / part).mkdir(parents=True)
        for number in range(count):
            noise = torch.randint(256, (40, 40, 3), dtype=torch.uint8)
            Image.fromarray(noise.numpy()).save(folder / part / f"{number:02}.png")
    return folder


@pytest.fixture
def run(tmp_path, pictures):
    save_run(tmp_path / "run", photos(pictures))
    return tmp_path / "run"


def test_a_run_is_audited_on_its_own_data(run, pictures, capsys):
    assert main(["audit", str(run), "--images", "10", "--batch-size", "4"]) == 0
    out, err = capsys.readouterr()
    assert "layer3.0.context_block  NL gaussian" in out
    assert f"Images: 10 below {pictures / 'val'}." in out
    assert "audits/001: audit.json, audit.png, audit.svg" in err
    assert "%|" not in err
    found = Audit.load(run / "audits" / "001" / "audit.json")
    assert str(found) == out.rstrip("\n")
    subject = open_subject(str(run))
    files = [pictures / "val" / f"{number:02}.png" for number in (0, 1, 2, 4, 5, 6, 7, 9, 10, 11)]
    batch = torch.stack([subject.see(path).input for path in files])
    (expected,) = audit(subject.net, [batch]).blocks
    for name in ("input", "output", "attention", "divergence"):
        assert getattr(found.blocks[0], name).mean == pytest.approx(getattr(expected, name).mean, rel=1e-4)
    assert (run / "audits" / "001" / "audit.png").read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in (run / "audits" / "001" / "audit.svg").read_text()
    assert main(["audit", str(run), "--images", "2"]) == 0
    assert (run / "audits" / "002").is_dir()


def test_json_and_other_data(run, tmp_path, capsys):
    (tmp_path / "one").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "one" / "black.png")
    out = tmp_path / "new" / "folder"
    assert main(["audit", str(run), "--data", str(tmp_path / "one"), "--json", "--out", str(out)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["images"] == 1
    assert printed["blocks"][0]["divergence"]["low"] is None
    assert printed == json.loads((out / "audit.json").read_text())


def test_broken_pictures_are_left_out_and_named(run, pictures, capsys):
    (pictures / "val" / "03.png").write_bytes(b"no picture")
    assert main(["audit", str(run)]) == 0
    out = capsys.readouterr().out
    assert "Images: 11 below" in out
    assert f"Left out: {pictures / 'val' / '03.png'}: cannot be decoded" in out


def test_nothing_but_broken_pictures(run, tmp_path, capsys):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"no picture")
    assert main(["audit", str(run), "--data", str(tmp_path / "broken")]) == 2
    err = capsys.readouterr().err
    assert "none of 1 files can be read, such as" in err
    assert not list((run / "audits").iterdir())


def test_a_transformer_by_name_per_layer_and_head(pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["audit", "timm:test_vit", "--data", str(pictures), "--size", "32", "--match", "blocks.[01].attn"]) == 0
    out, err = capsys.readouterr()
    assert "blocks.0.attn  attention" in out
    assert out.count("  head 0") == 2
    assert "Random weights: this says what the network starts from, not what it learns." in out
    assert "runs/audits/001" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["timm:test_vit"], "data: timm:test_vit has no data of its own; give --data"),
        (["{run}", "--data", "{tmp}/nowhere"], "data={tmp}/nowhere: no such file or folder"),
        (["{tmp}/nowhere", "--data", "{tmp}"], "nowhere: no such run or file"),
        (["{run}", "--match", "layer9.*"], "layer9.*"),
        (["{run}", "--images", "0"], "images=0 must be at least 1"),
        (["{run}", "--batch-size", "0"], "batch_size=0 must be at least 1"),
        (["{run}", "--pairs", "1"], "pairs=1 must be at least 2"),
        (["{run}", "--out", "{run}"], "out={run}: is there already; give a new or empty folder"),
        (["{run}", "--out", "{run}/config.json/x"], "out={run}/config.json/x: cannot be written"),
        (["resnet18", "--data", "{data}"], "attention"),
    ],
)
def test_mistakes_are_one_line(arguments, message, run, pictures, tmp_path, capsys):
    names = {"run": run, "tmp": tmp_path, "data": pictures}
    assert main(["audit", *(argument.format(**names) for argument in arguments)]) == 2
    out, err = capsys.readouterr()
    assert message.format(**names) in err
    assert err.count("\n") == 1
    assert not out
