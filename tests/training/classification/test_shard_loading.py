"""Batches out of shards: the same after any interruption, with any number of workers, over all processes."""

import dataclasses
import functools
import http.server
import shutil
import threading

import pytest
import torch

pytest.importorskip("webdataset")

from gcnet.recipes.classification import classification
from gcnet.training.classification import shard_loading
from gcnet.training.classification.shard_samples import read_shard
from gcnet.training.classification.shards import find_shards
from gcnet.training.classification.transforms import train_transform, val_transform
from gcnet.training.loading import ALONE, BrokenSample, Place
from tests.training.classification.photos import encoded, picture, write_shard, write_shards


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("shards"))


def configure(root, **options):
    base = {"image_size": 8, "batch_size": 2, "workers": 0, "shard_lanes": 3, "shard_buffer": 12}
    return dataclasses.replace(classification(root), **base | options)


def train_loader(root, place=ALONE, **options):
    config = configure(root, **options)
    return find_shards(config).train_loader(train_transform(config), config, place)


def val_loader(root, place=ALONE, **options):
    config = configure(root, **options)
    return find_shards(config).val_loader(val_transform(config), config, place)


def epochs(loader, count=1):
    for epoch in range(count):
        loader.batch_sampler.set_epoch(epoch)
        yield from loader


def assert_same(batches, expected):
    batches, expected = list(batches), list(expected)
    assert len(batches) == len(expected)
    for (images, labels), (wanted, wanted_labels) in zip(batches, expected, strict=True):
        assert torch.equal(images, wanted)
        assert torch.equal(labels, wanted_labels)


def seen(loader):
    return sorted(image.sum().item() for images, _ in loader for image in images)


@pytest.mark.parametrize("workers", [1, 2])
def test_order_and_augmentation_do_not_depend_on_workers(root, workers):
    assert_same(epochs(train_loader(root, workers=workers), 2), epochs(train_loader(root), 2))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("used", [0, 1, 5, 11, 12])
def test_goes_on_after_any_batch(root, used, workers):
    expected = list(epochs(train_loader(root), 2))
    stopped = train_loader(root)
    batches = epochs(stopped, 2)
    for _ in range(used):
        next(batches)
    state = stopped.state_dict()
    again = train_loader(root, workers=workers)
    again.load_state_dict(state)
    rest = list(again)
    again.batch_sampler.set_epoch(1)
    rest += list(again) if used < 12 else []
    assert_same(rest, expected[used:])


def test_whole_shards_are_left_out_when_going_on(root, monkeypatch):
    opened = []
    original = shard_loading.read_shard
    monkeypatch.setattr(shard_loading, "read_shard", lambda shard: opened.append(shard) or original(shard))
    loader = train_loader(root, shard_lanes=1, shard_buffer=1)
    list(loader)
    assert len(opened) == 4
    loader = train_loader(root, shard_lanes=1, shard_buffer=1)
    loader.load_state_dict({"epoch": 0, "used": 11, "broken": []})
    opened.clear()
    assert len(list(loader)) == 1
    assert len(opened) == 1


def test_every_epoch_has_another_order(root):
    batches = list(epochs(train_loader(root), 2))
    assert not all(torch.equal(first[1], second[1]) for first, second in zip(batches[:12], batches[12:], strict=True))


def test_processes_share_an_epoch(root):
    plain = {"crop_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0), "mirror": 0.0}
    alone = seen(train_loader(root, **plain))
    loaders = [train_loader(root, Place(rank, 3), **plain) for rank in range(3)]
    assert [len(loader) for loader in loaders] == [4, 4, 4]
    assert sorted(value for loader in loaders for value in seen(loader)) == alone
    assert len(set(alone)) == 24


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("world", [1, 2, 4])
def test_validation_sees_every_sample_once(root, world, workers):
    loaders = [val_loader(root, Place(rank, world), batch_size=2, workers=workers) for rank in range(world)]
    both = [value for loader in loaders for value in seen(loader)]
    assert sorted(both) == seen(val_loader(root, shard_lanes=1, batch_size=9))
    assert len(both) == 9
    assert sum(int(labels.sum()) for loader in loaders for _, labels in loader) == 4


@pytest.mark.parametrize(("said", "there"), [(9, "8"), (7, "more than 7")])
def test_sizes_that_are_wrong_are_named(tmp_path, said, there):
    write_shards(tmp_path)
    loader = train_loader(tmp_path, shard_lanes=1, shard_buffer=1)
    sizes = (tmp_path / "sizes.json").read_text()
    (tmp_path / "sizes.json").write_text(sizes.replace('"train-002.tar": 8', f'"train-002.tar": {said}'))
    loader = train_loader(tmp_path, shard_lanes=1, shard_buffer=1, batch_size=1)
    with pytest.raises(BrokenSample, match=rf"train-002\.tar: holds {there} samples, sizes.json says {said}; remove"):
        list(loader)


@pytest.fixture
def broken(tmp_path):
    good = encoded(picture("red", 0))
    samples = {f"{index}": {"png": good, "cls": b"ab"[index % 2 : index % 2 + 1]} for index in range(8)}
    samples["3"]["png"] = good[:200]
    write_shard(tmp_path / "train.tar", samples)
    write_shard(tmp_path / "val.tar", samples)
    return tmp_path


def test_broken_samples_stop_or_are_counted(broken):
    with pytest.raises(BrokenSample, match=r"train\.tar: 3: cannot be decoded"):
        list(train_loader(broken))
    loader = val_loader(broken, on_broken="skip")
    assert sum(len(labels) for _, labels in loader) == 7
    (message,) = loader.broken
    assert "val.tar: 3: cannot be decoded" in message


def test_labels_beyond_the_classes_are_named(broken):
    (broken / "classes.txt").write_text("a\nc\n")
    with pytest.raises(BrokenSample, match="its label 'b' is not among the 2 classes"):
        list(train_loader(broken))


@pytest.fixture
def server(root):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            if "cut" in self.path:
                self.send_response(200)
                self.send_header("Content-Length", "1000000")
                self.end_headers()
                self.wfile.write(bytes(10240))  # what an empty archive consists of
                self.close_connection = True
            else:
                super().do_GET()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(root))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.skipif(shutil.which("curl") is None, reason="webdataset reads URLs by curl")
def test_urls(root, server, tmp_path):
    urls = {"train_shards": f"{server}/train-{{000..003}}.tar", "val_shards": f"{server}/val-{{000..001}}.tar"}
    assert_same(train_loader(tmp_path, **urls), train_loader(root))
    urls["train_shards"] = f"{server}/train-004.tar"
    with pytest.raises(
        ValueError, match=r"train-004\.tar: cannot be read as a shard \(the download ended with status 22"
    ):
        train_loader(tmp_path, **urls)


@pytest.mark.skipif(shutil.which("curl") is None, reason="webdataset reads URLs by curl")
def test_downloads_that_break_off(server):
    with pytest.raises(BrokenSample, match=r"cut\.tar: cannot be read as a shard \(the download ended with status 18"):
        list(read_shard(f"{server}/cut.tar"))
    first = read_shard(f"{server}/train-002.tar")
    assert next(first)["__key__"] == "0012"
    first.close()
