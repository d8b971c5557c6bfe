"""Members of a shard as samples."""

import pytest

pytest.importorskip("webdataset")

from gcnet.training.classification.shard_samples import image_bytes, label_text, read_shard
from gcnet.training.loading import BrokenSample
from tests.training.classification.photos import encoded, picture, write_shard

SAMPLE = {"__key__": "daisy/01", "__url__": "train-0.tar"}


def test_reads_what_was_written(tmp_path):
    png = encoded(picture("red", 0))
    path = write_shard(tmp_path / "a.tar", {"x/0": {"PNG": png, "cls": b"1"}, "x/1": {"png": png, "json": b"{}"}})
    first, second = read_shard(str(path))
    assert (first["__key__"], image_bytes(first, None), label_text(first, None)) == ("x/0", png, "1")
    assert (image_bytes(second, "png"), label_text(second, None)) == (png, "x")


@pytest.mark.parametrize("content", [b"", b"text" * 200])
def test_what_is_no_shard_is_named(tmp_path, content):
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(BrokenSample, match=r"a\.tar: cannot be read as a shard \("):
        list(read_shard(str(tmp_path / "a.tar")))


def test_missing_and_cut_shards_are_named(tmp_path):
    with pytest.raises(BrokenSample, match=r"none\.tar: cannot be read as a shard \(No such file"):
        list(read_shard(str(tmp_path / "none.tar")))
    path = write_shard(tmp_path / "a.tar", {"0": {"png": bytes(5000)}})
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(BrokenSample, match=r"a\.tar: cannot be read as a shard \(unexpected end of data"):
        list(read_shard(str(path)))


def test_images_and_columns():
    with pytest.raises(BrokenSample, match=r"train-0.tar: daisy/01: holds no image, only txt"):
        image_bytes({**SAMPLE, "txt": b""}, None)
    with pytest.raises(BrokenSample, match=r"several images \(jpg, depth.png\); name one by image_column"):
        image_bytes({**SAMPLE, "jpg": b"", "depth.png": b""}, None)
    assert image_bytes({**SAMPLE, "jpg": b"a", "depth.png": b"b"}, "jpg") == b"a"
    with pytest.raises(BrokenSample, match="holds no tif, only jpg"):
        image_bytes({**SAMPLE, "jpg": b"a"}, "tif")


def test_labels():
    assert label_text({**SAMPLE, "cls": b" 3\n"}, None) == "3"
    assert label_text({**SAMPLE, "json": b'{"label": 3}'}, None) == "3"
    assert label_text({**SAMPLE, "cls": b"3", "json": b'{"kind": "rose"}'}, "kind") == "rose"
    assert label_text({**SAMPLE, "txt": b"rose"}, "txt") == "rose"
    assert label_text(SAMPLE, None) == "daisy"
    for sample, column in (({**SAMPLE, "__key__": "01"}, None), ({**SAMPLE, "json": b"{}"}, "kind"), (SAMPLE, "kind")):
        with pytest.raises(BrokenSample, match="has no label"):
            label_text(sample, column)
    with pytest.raises(BrokenSample, match="its json cannot be read"):
        label_text({**SAMPLE, "json": b"{"}, None)
