import numpy as np
import pytest
import torch

from gcnet.training.randomness import seeded
from gcnet.training.video.clips import ClipTimes, TrainingClips, VideoViews
from gcnet.training.video.decoding import scan
from tests.training.video.files import write_video
from tests.training.video.settings import settings


@pytest.fixture(scope="module")
def steady(tmp_path_factory):
    """30 frames at 25 per second, frame i of grey 5 + 8 i."""
    return write_video(tmp_path_factory.mktemp("videos") / "a.mp4", [5 + 8 * index for index in range(30)])


def _frames(clip):
    """Which frames of the steady video a clip [3, T, H, W] holds."""
    return ((clip.float().mean((0, 2, 3)) - 5) / 8).round().int().tolist()


@pytest.mark.parametrize(("frames", "stride"), [(1, 1), (4, 7), (8, 4), (30, 1)])
def test_frames_are_a_stride_apart(steady, frames, stride):
    video = scan(steady)
    times = ClipTimes(frames, stride)
    assert times.indices(video, 0.0) == list(range(0, frames * stride, stride))
    latest = times.latest_start(video)
    assert times.indices(video, latest)[-1] == 29
    assert latest == pytest.approx((29 - (frames - 1) * stride) * 0.04)


def test_stride_at_a_given_frame_rate(steady):
    assert ClipTimes(4, 2, frame_rate=12.5).indices(scan(steady), 0.0) == [0, 4, 8, 12]
    assert ClipTimes(4, 1, frame_rate=50).indices(scan(steady), 0.0) == [0, 0, 1, 1]


def test_stride_is_one_in_time(tmp_path):
    times = [0, 40, 80, 120, 160, 800, 1200, 1600]  # on average 1600 / 7 ms apart
    video = scan(write_video(tmp_path / "a.mp4", range(8), milliseconds=times))
    assert ClipTimes(8, 1).indices(video, 0.0) == [0, 4, 4, 4, 5, 5, 6, 7]


@pytest.mark.parametrize(("length", "expected"), [(1, [0] * 6), (2, [0, 0, 0, 0, 0, 0]), (5, [0, 2, 4, 1, 3, 0])])
def test_videos_shorter_than_a_clip_are_repeated(tmp_path, length, expected):
    video = scan(write_video(tmp_path / "a.mp4", range(length)))
    times = ClipTimes(6, 2)
    assert times.latest_start(video) == 0
    assert times.indices(video, 0.0) == expected


def test_training_clips_are_random_and_reproducible(steady):
    clips = TrainingClips([(steady, 3)], settings(steady.parent, frames=4, stride=5))
    drawn = []
    for seed in (0, 0, 1, 2, 3):
        with seeded(seed):
            clip, label = clips[0]
        assert clip.shape == (3, 4, 16, 16)
        assert clip.dtype == torch.uint8
        assert label == 3
        drawn.append(clip)
    assert torch.equal(drawn[0], drawn[1])
    starts = [_frames(clip)[0] for clip in drawn]
    assert len(set(starts)) > 2
    assert all(
        0 <= start <= 14 and _frames(clip) == [start + 5 * step for step in range(4)]
        for start, clip in zip(starts, drawn, strict=True)
    )


def test_all_frames_of_a_clip_are_cropped_and_mirrored_alike(tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (24, 40, 3), dtype=np.uint8)
    path = write_video(tmp_path / "a.mkv", [picture] * 6, size=(40, 24), codec="ffv1", pixels="bgr0")
    clips = TrainingClips([(path, 0)], settings(tmp_path, frames=6, stride=1, mirror=0.5))
    seen = set()
    for seed in range(6):
        with seeded(seed):
            clip, _ = clips[0]
        assert all(torch.equal(clip[:, 0], clip[:, time]) for time in range(6))
        seen.add(clip.float().mean().item())
    assert len(seen) == 6


def test_views_are_spread_over_time_and_space(tmp_path):
    ramp = np.broadcast_to(np.arange(32, dtype=np.uint8)[None, :, None] * 4, (16, 32, 3))
    path = write_video(tmp_path / "a.mkv", [ramp + index for index in range(20)], size=(32, 16), codec="ffv1",
                       pixels="bgr0")  # fmt: skip
    config = settings(tmp_path, frames=4, stride=2, views="3x2")
    views, label = VideoViews([(path, 1)], config)[0]
    assert label == 1
    assert views.shape == (6, 3, 4, 16, 16)
    corners = views[:, 0, :, 0, 0].view(3, 2, 4)  # clip, crop, time
    assert corners[:, 0].tolist() == [[0, 2, 4, 6], [6, 8, 10, 12], [13, 15, 17, 19]]
    assert torch.equal(corners[:, 1], corners[:, 0] + 16 * 4)
    centre, _ = VideoViews([(path, 1)], settings(tmp_path, frames=4, stride=2))[0]
    assert centre[0, 0, 0, 0, 0] == 8 * 4 + 6
