"""What the server of the explorer answers, and what it refuses."""

import dataclasses
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("httpx")
pytest.importorskip("lightning")

from fastapi.testclient import TestClient

from gcnet.analysis.audit import audit
from gcnet.explorer import passes
from gcnet.explorer.app import build_app
from gcnet.explorer.gallery import Gallery
from gcnet.explorer.passes import Passes
from tests.explorer.asking import make_client, refused
from tests.explorer.networks import GRID, SIDE, expected_map, make_clip_subject, make_subject, photo, see

ROW = "/api/passes/0/f0/row"


def weights(answer):
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content, "<f4")


def test_start_names_models_and_images(client):
    start = client.get("/api/start").json()
    assert [model["name"] for model in start["models"]] == ["net 0", "net 1"]
    assert start["images"] == [{"id": "f0", "name": "a.png"}, {"id": "f1", "name": "b.png"}]
    assert {len(table) for table in start["colours"].values()} == {256}


def test_rows_are_those_of_the_formula(client):
    expected = expected_map(make_subject().net, photo(0))
    for query in (0, 37, GRID * GRID - 1):
        found = weights(client.get(ROW, params={"block": "1", "query": query}))
        torch.testing.assert_close(torch.tensor(found), expected[query].float(), rtol=1e-4, atol=1e-4)


def test_two_models_see_the_same_image(client):
    for model in (0, 1):
        found = weights(client.get(f"/api/passes/{model}/f1/row", params={"block": "1", "query": 5}))
        expected = expected_map(make_subject(model).net, photo(1))[5]
        torch.testing.assert_close(torch.tensor(found), expected.float(), rtol=1e-4, atol=1e-4)


def test_a_pooled_block_has_one_row(client):
    first, other = (weights(client.get(ROW, params={"block": "2", "query": query})) for query in (0, 100))
    assert (first == other).all()
    assert first.mean() == pytest.approx(1, abs=1e-5)


def test_what_is_said_of_blocks(client):
    answer = client.get("/api/passes/0/f0").json()
    assert (answer["width"], answer["height"], answer["frames"], answer["name"]) == (SIDE, SIDE, 1, "a.png")
    blocks = {block["path"]: block for block in answer["blocks"]}
    assert [blocks[path]["pooled"] for path in "123"] == [False, True, False]
    assert [blocks[path]["softmax"] for path in "123"] == [True, True, False]
    assert (blocks["3"]["size"], blocks["3"]["key_size"]) == ([GRID, GRID], [GRID // 2, GRID // 2])
    logits = make_subject().net(see(photo(0)).input[None]).softmax(1)[0]
    assert answer["prediction"][0]["name"] == ("ant", "bee", "cat")[logits.argmax()]
    assert answer["prediction"][0]["probability"] == pytest.approx(logits.max().item(), abs=1e-5)


def test_the_picture_is_what_the_network_sees(client):
    shown = Image.open(io.BytesIO(client.get("/api/passes/0/f0/picture").content))
    assert (np.asarray(shown) == see(photo(0)).picture.permute(1, 2, 0).numpy()).all()


def test_the_network_runs_once_for_an_image(client, monkeypatch):
    runs = []
    real = passes.run_pass
    monkeypatch.setattr(passes, "run_pass", lambda *given: runs.append(1) or real(*given))
    for query in range(5):
        client.get(ROW, params={"block": "1", "query": query})
    assert len(runs) == 1


def test_clips_are_shown_frame_by_frame(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"")
    subject = make_clip_subject()
    client = TestClient(build_app([subject], Gallery(tmp_path, [tmp_path / "a.mp4"], "video")), "http://127.0.0.1")
    answer = client.get("/api/passes/0/f0").json()
    assert (answer["frames"], answer["height"], answer["width"]) == (4, 32, 24)
    assert answer["blocks"][0]["size"] == [2, 4, 3]
    shown = np.asarray(Image.open(io.BytesIO(client.get("/api/passes/0/f0/picture").content)))
    assert (shown == np.concatenate(list(subject.see(None).picture.permute(1, 2, 3, 0).numpy()))).all()
    assert weights(client.get(ROW, params={"block": "1", "query": 23})).mean() == pytest.approx(1, abs=1e-5)
    figure = client.get("/api/passes/0/f0/figure", params={"block": "1", "query": 3, "form": "png"})
    assert figure.content.startswith(b"\x89PNG")


def test_windows_are_not_laid_over_the_picture():
    done = passes.run_pass(make_subject(), see(photo(0)))
    record = dataclasses.replace(done.maps["1"], windows=4)
    seen = dataclasses.replace(done, maps={"1": record, "2": done.maps["2"]})
    assert (seen.hidden("1"), seen.hidden("2")) == (f"within 4 windows of {GRID} x {GRID}", None)
    with pytest.raises(ValueError, match=r"attends within 4 windows of .*, which is not shown here"):
        seen.row("1", 0)


def test_passes_are_bounded():
    known = Passes(make_subject(), most_bytes=1)
    kept = [known(name, lambda subject: see(photo(0))) for name in "aab"]
    assert kept[0] is kept[1]
    assert known("a", lambda subject: see(photo(0))) is not kept[0]


def test_numbers_of_this_image_and_of_the_audit(folder, tmp_path):
    subject = make_subject(run=tmp_path)
    found = audit(subject.net, [torch.stack([see(photo(seed)).input for seed in range(3)])])
    for number, content in (("001", "{}"), ("002", json.dumps(found.to_dict()))):
        path = tmp_path / "audits" / number / "audit.json"
        path.parent.mkdir(parents=True)
        path.write_text(content)
    numbers = make_client(folder, subject).get("/api/passes/0/f0/numbers", params={"block": "1"}).json()
    block = found.blocks[0]
    assert numbers["audit"]["images"] == 3
    assert numbers["audit"]["attention"]["mean"] == pytest.approx(block.attention.mean)
    rows = expected_map(subject.net, photo(0))
    unit = rows / rows.norm(dim=1, keepdim=True)
    assert numbers["image"]["attention"]["mean"] == pytest.approx(((1 - unit @ unit.T) / 2).mean().item(), abs=1e-5)


def test_large_maps_are_not_measured(client, monkeypatch):
    monkeypatch.setattr(passes, "MOST_WEIGHTS", GRID**4 - 1)
    numbers = client.get("/api/passes/0/f0/numbers", params={"block": "1"}).json()
    assert numbers == {"image": None, "audit": None}
    assert client.get("/api/passes/0/f0/numbers", params={"block": "2"}).json()["image"]["shared"]


def test_a_damaged_audit_is_named(folder, tmp_path):
    (tmp_path / "audits" / "001").mkdir(parents=True)
    (tmp_path / "audits" / "001" / "audit.json").write_text("{}")
    client = make_client(folder, make_subject(run=tmp_path))
    refused(client.get("/api/passes/0/f0/numbers", params={"block": "1"}), 422, "holds no audit")


@pytest.mark.parametrize(("form", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_figure_can_be_downloaded(client, form, start):
    answer = client.get("/api/passes/0/f0/figure", params={"block": "1", "query": 3, "form": form})
    assert answer.content.startswith(start)
    assert answer.headers["content-disposition"] == "attachment"


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/api/passes/0/f9", 404, "'f9' is not there"),
        ("/api/passes/7/f0", 404, "model 7 is not there"),
        ("/api/passes/x/f0", 422, "integer"),
        (f"{ROW}?block=nothing&query=0", 404, "none of '1', '2', '3'"),
        (f"{ROW}?block=1&query={GRID * GRID}", 422, "outside 0 to 255"),
        (f"{ROW}?block=1&query=-1", 422, "outside 0 to 255"),
        (f"{ROW}?block=1&query=0&head=1", 422, "outside 0 to 0"),
        (f"{ROW}?block=1", 422, "query"),
        ("/api/passes/0/f0/figure?block=1&query=0&form=exe", 422, "'png', 'svg' or 'pdf'"),
        ("/api/passes/0/f0/numbers?block=9", 404, "none of"),
        ("/api/images/..%2f..%2fetc%2fpasswd/thumbnail", 404, "Not Found"),
        ("/api/images/a.png/thumbnail", 404, "is not there"),
        ("/..%2fapp.py", 404, "Not Found"),
        ("/openapi.json", 404, "Not Found"),
    ],
)
def test_unknown_and_out_of_range(client, path, status, words):
    refused(client.get(path), status, words)


def test_files_outside_of_the_folder_are_out_of_reach(folder, tmp_path):
    photo(5).save(tmp_path / "secret.png")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    client = make_client(folder, make_subject(), files=[*sorted(folder.iterdir()), tmp_path / "secret.png"])
    assert [image["name"] for image in client.get("/api/start").json()["images"]] == ["a.png", "b.png"]
    (folder / "a.png").unlink()
    (folder / "a.png").symlink_to(tmp_path / "secret.png")
    refused(client.get("/api/passes/0/f0"), 404, "no longer")


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"host": "evil.example"}, "'evil.example' is not served"),
        ({"host": "evil.example:8000"}, "is not served"),
        ({"host": "127.0.0.1.evil.example"}, "is not served"),
        ({"host": "[::1"}, "is not served"),
        ({"origin": "http://evil.example"}, "are not answered"),
        ({"origin": "null"}, "are not answered"),
    ],
)
def test_other_sites_are_refused(client, headers, words):
    refused(client.get("/api/start", headers=headers), 403, words)
    refused(client.post("/api/images", content=b"", headers=headers), 403, words)


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "192.168.1.5:80"])
def test_addresses_are_served(client, host):
    assert client.get("/", headers={"host": host, "origin": f"http://{host}"}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/main.js", "/style.css", "/api/start", "/api/images/f0/thumbnail", "/nothing"])
def test_every_answer_is_strict(client, path):
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers


def test_a_file_that_cannot_be_read_is_named_without_its_folder(folder):
    (folder / "broken.png").write_bytes(b"no image")
    message = refused(make_client(folder, make_subject()).get("/api/passes/0/f2"), 422, "broken.png")
    assert str(folder) not in message


def test_a_network_without_attention_says_so(folder):
    subject = make_subject()
    plain = torch.nn.Sequential(subject.net[0])
    client = make_client(folder, type(subject)("plain", plain, see, plain))
    refused(client.get("/api/passes/0/f0"), 422, "attention")


def test_weights_that_are_no_numbers_are_refused(folder):
    subject = make_subject()
    subject.net[1].query.weight.data[:] = torch.nan
    refused(make_client(folder, subject).get(ROW, params={"block": "1", "query": 0}), 422, "infinite or NaN")


def test_failures_show_no_traceback(client, monkeypatch):
    def fail(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr(passes, "run_pass", fail)
    answer = client.get("/api/passes/0/f0")
    assert "secret" not in refused(answer, 500, "terminal")
    assert answer.headers["x-content-type-options"] == "nosniff"
