"""Clips: the digits move as the label says, one frame or one digit does not tell, and files hold what was composed."""

import av
import numpy as np
import pytest

pytest.importorskip("sklearn")

from gcnet.training.scenes.make import make_scenes
from gcnet.training.scenes.video import DIRECTIONS, VideoScenes, compose_clips

QUIET = VideoScenes(train=12, val=4, noise=(0, 0), photo=0)


def test_half_of_the_digits_move_as_the_label_says():
    clips = compose_clips(VideoScenes(train=400, val=1, digits=4, frames=2, size=32), "train")
    counts = np.stack([(clips.moves == direction).sum(1) for direction in range(len(DIRECTIONS))], axis=1)
    assert (counts[np.arange(400), clips.labels] == 2).all()
    assert np.array_equal(counts.argmax(1), clips.labels)


def test_one_digit_does_not_tell():
    """Any digit moves as the label says in half of the clips, and otherwise in each other direction alike."""
    clips = compose_clips(VideoScenes(train=3000, val=1, frames=2, size=48), "train")
    turn = (clips.moves - clips.labels[:, None]) % 4
    for digit in turn.T:
        share = np.bincount(digit, minlength=4) / len(digit)
        assert share == pytest.approx([1 / 2, 1 / 6, 1 / 6, 1 / 6], abs=0.04)


def test_one_frame_does_not_tell():
    """Without noise, the brightness at any place of any frame has the same mean for all labels."""
    clips = compose_clips(VideoScenes(train=2000, val=1, noise=(0, 0), photo=0, frames=4, size=32, digits=4), "train")
    for frame in range(4):
        rows = clips.frames[:, frame, ..., 0].reshape(len(clips.labels), 4, 8, 4, 8).mean(axis=(2, 4))
        means = np.stack([rows[clips.labels == label].mean(0) for label in range(4)])
        spread = rows.std(0) * np.sqrt(4 / len(rows))
        assert (np.abs(means - rows.mean(0)) < 4.5 * spread).all()


def test_digits_move_in_their_direction():
    """The frame that shifting a lone digit by its step gives is the next frame."""
    clips = compose_clips(QUIET, "train")
    light = clips.frames[..., 0].astype(float)
    found = []
    for clip, label in zip(light, clips.labels, strict=True):
        fits = []
        for step in DIRECTIONS.values():
            errors = [np.abs(np.roll(clip[:-1], np.multiply(step, speed), (1, 2)) - clip[1:]) for speed in (1, 2)]
            fits.append(((np.minimum(*errors) == 0) & (clip[1:] > 0)).sum())
        found.append(np.argmax(fits) == label)
    assert np.mean(found) >= 0.9


def test_files_hold_what_was_composed(tmp_path):
    settings = VideoScenes(train=4, val=2, seed=3)
    root = make_scenes("video", tmp_path / "scenes", settings)
    for split, count in (("train", 4), ("val", 2)):
        clips = compose_clips(settings, split)
        paths = sorted((root / split).rglob("*.mp4"), key=lambda path: path.name)
        assert len(paths) == count
        for path, label, frames in zip(paths, clips.labels, clips.frames, strict=True):
            assert path.parent.name == list(DIRECTIONS)[label]
            with av.open(str(path)) as container:
                decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
            assert decoded.shape == frames.shape == (16, 64, 64, 3)
            error = np.abs(decoded.astype(float) - frames)
            assert error.mean() < 6


def test_same_seed_same_bytes(tmp_path):
    settings = VideoScenes(train=5, val=2)
    first, second = (make_scenes("video", tmp_path / name, settings) for name in ("a", "b"))
    files = sorted(path.relative_to(first) for path in first.rglob("*.mp4"))
    assert len(files) == 7
    assert all((first / file).read_bytes() == (second / file).read_bytes() for file in files)


@pytest.mark.parametrize(("options", "message"), [({"digits": 3}, "digits=3"), ({"frames": 1}, "frames=1")])
def test_settings_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        VideoScenes(**options)
