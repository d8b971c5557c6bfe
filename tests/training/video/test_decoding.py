from unittest import mock

import av
import numpy as np
import pytest
import torch

from gcnet.training.loading import BrokenSample
from gcnet.training.video import decoding
from gcnet.training.video.decoding import choose_decoder, read_frames, scan, torchcodec_works
from tests.training.video.files import GREYS, cut, turn, write_sound, write_video

both = pytest.mark.parametrize(
    "decoder",
    [
        "pyav",
        pytest.param("torchcodec", marks=pytest.mark.skipif(not torchcodec_works(), reason="torchcodec has no FFmpeg")),
    ],
)
KINDS = [
    ("a.mp4", "libx264", "yuv420p"),
    ("ten_bits.mp4", "libx265", "yuv420p10le"),
    ("full_colour.mp4", "libx264", "yuv444p"),
    ("grey.mkv", "ffv1", "gray"),
    ("a.mkv", "libx264", "yuv420p"),
    ("a.mov", "libx264", "yuv420p"),
    ("a.avi", "mpeg4", "yuv420p"),
    ("h264.avi", "libx264", "yuv420p"),
    ("a.mpg", "mpeg2video", "yuv420p"),
    ("a.ts", "libx264", "yuv420p"),
    ("a.webm", "libvpx-vp9", "yuv420p"),
    ("a.wmv", "wmv2", "yuv420p"),
    ("a.flv", "flv", "yuv420p"),
    ("a.gif", "gif", "rgb8"),
]


def _greys(video, indices, decoder="pyav"):
    return read_frames(video, indices, decoder=decoder).float().mean((1, 2, 3))


@both
@pytest.mark.parametrize(("name", "codec", "pixels"), KINDS)
def test_frames_are_the_ones_asked_for(tmp_path, decoder, name, codec, pixels):
    video = scan(write_video(tmp_path / name, codec=codec, pixels=pixels))
    assert len(video) == len(GREYS)
    assert video.missing == 0
    for indices in ([0], [19], [3, 17], [17, 3, 3, 9], range(20)):
        expected = torch.tensor([GREYS[index] for index in indices], dtype=torch.float)
        assert (_greys(video, indices, decoder) - expected).abs().max() <= 6  # lossy, greys are 12 apart


@pytest.mark.parametrize(
    ("name", "codec", "encoder"),
    [
        ("a.mpg", "mpeg1video", {"bf": "2", "g": "12"}),
        ("a.avi", "libx264", {"bf": "3", "g": "12", "preset": "medium", "crf": "23"}),
    ],
)
def test_frames_in_containers_without_reliable_times(tmp_path, name, codec, encoder):
    noise = np.random.default_rng(0).integers(256, size=(60, 6, 8, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    path = write_video(tmp_path / name, noise, size=(64, 48), codec=codec, encoder=encoder)
    with av.open(str(path)) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    video = scan(path)
    for index in range(60):
        frame = read_frames(video, [index], decoder="pyav")[0].permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(frame, decoded[index])


@both
def test_frames_of_uneven_times(tmp_path, decoder):
    times = [0, 40, 80, 1000, 1040, 2000, 3600]
    video = scan(write_video(tmp_path / "a.mp4", GREYS[: len(times)], milliseconds=times))
    np.testing.assert_allclose(video.times * 1000, times, atol=0.1)
    assert video.interval == pytest.approx(0.6)
    assert video.duration == pytest.approx(4.2)
    assert video.shown_at(np.array([0, 0.03, 0.5, 0.99, 1.0, 1.5, 3.0, 3.6, 4.1])).tolist() == [
        0,
        0,
        2,
        2,
        3,
        4,
        5,
        6,
        6,
    ]
    assert video.shown_at(4.2 + np.array([0, 0.05, 4.2])).tolist() == [0, 1, 0]
    assert (_greys(video, [2, 5], decoder) - torch.tensor([29.0, 65.0])).abs().max() <= 1


@both
def test_a_turned_video_is_upright(tmp_path, decoder):
    frame = np.zeros((32, 48, 3), np.uint8)
    frame[:16, :24] = 250  # top left
    video = scan(turn(write_video(tmp_path / "a.mp4", [frame], size=(48, 32))))
    upright = read_frames(video, [0], decoder=decoder)[0].float()
    assert upright.shape == (3, 48, 32)
    assert upright[:, :24, 16:].mean() > 240  # to the right, clockwise
    assert upright.sum() == upright[:, :24, 16:].sum()


@both
def test_sizes(tmp_path, decoder):
    odd = scan(write_video(tmp_path / "odd.mkv", size=(35, 21), codec="ffv1", pixels="bgr0"))
    assert read_frames(odd, [4], decoder=decoder).shape == (1, 3, 21, 35)
    small = read_frames(odd, [4, 4], short_side=12, decoder=decoder)
    assert small.shape == (2, 3, 12, 20)
    assert small.dtype == torch.uint8
    assert small.unique().tolist() == [GREYS[4]]


def test_one_frame(tmp_path):
    video = scan(write_video(tmp_path / "a.mp4", [100]))
    assert (len(video), video.interval, video.duration, video.missing) == (1, 1, 1, 0)
    assert video.shown_at(np.array([0, 0.5])).tolist() == [0, 0]
    assert read_frames(video, [0, 0], decoder="pyav").shape == (2, 3, 32, 32)


@both
@pytest.mark.parametrize(("name", "container"), [("a.mp4", {"movflags": "faststart"}), ("a.mkv", None)])
def test_a_broken_tail_leaves_the_part_before_it(tmp_path, decoder, name, container):
    noise = np.random.default_rng(0).integers(0, 255, (20, 32, 32, 3), dtype=np.uint8)
    path = write_video(tmp_path / name, noise, container=container)
    whole = read_frames(scan(path), range(20), decoder="pyav")
    video = scan(cut(path, 0.7))
    assert 8 < len(video) < 16
    assert video.missing == 20 - len(video)
    kept = [index for index in range(len(video)) if video.stamps[index] == video.stamps[0] + index * video.stamps[1]]
    assert torch.equal(read_frames(video, kept[:8], decoder=decoder), whole[:8])
    assert read_frames(video, range(len(video)), decoder=decoder).shape == (len(video), 3, 32, 32)


def test_a_recording_that_starts_between_key_frames(tmp_path):
    path = write_video(tmp_path / "a.ts", [*GREYS, *GREYS])
    content = path.read_bytes()
    start = len(content) // 3 // 188 * 188
    path.write_bytes(content[:376] + content[start:])
    video = scan(path)
    assert 8 < len(video) < 40
    expected = torch.tensor(GREYS * 2, dtype=torch.float)[-len(video) :]
    assert (_greys(video, range(len(video))) - expected).abs().max() <= 1


def test_frames_cut_off_by_an_edit_list(tmp_path):
    """Nothing is missing of a clip that was cut without encoding it again."""
    video = scan(write_video(tmp_path / "a.mp4", first=-3))
    assert (len(video), video.missing) == (17, 0)
    assert (_greys(video, [0, 16]) - torch.tensor([GREYS[3], GREYS[19]])).abs().max() <= 1


def test_what_is_no_video_is_named(tmp_path):
    cases = {
        "is empty": tmp_path / "empty.mp4",
        "Invalid data": tmp_path / "text.mp4",
        r"has no video stream \(it holds audio\)": write_sound(tmp_path / "sound.wav"),
        "no video stream|Invalid data": cut(write_video(tmp_path / "half.mp4"), 0.5),  # its table of frames came last
        "have no time stamps": write_video(tmp_path / "raw.h264"),
        "No such file": tmp_path / "none.mp4",
    }
    cases["is empty"].touch()
    cases["Invalid data"].write_text("not a video " * 100)
    for message, path in cases.items():
        with pytest.raises(BrokenSample, match=f"{path.name}: .*(?:{message})"):
            scan(path)


def test_frames_without_data_are_named(tmp_path):
    path = write_video(tmp_path / "a.mkv")
    video = scan(path)
    cut(path, 0.7)
    with pytest.raises(BrokenSample, match=r"a.mkv: frame 19 of 20 cannot be decoded"):
        read_frames(video, [19], decoder="pyav")


def test_long_videos_are_not_decoded_whole(tmp_path, monkeypatch):
    video = scan(write_video(tmp_path / "a.mp4", [index % 200 for index in range(400)]))
    decoded, packets = [], decoding._packets
    monkeypatch.setattr(decoding, "_packets", lambda *args: (decoded.append(p) or p for p in packets(*args)))
    assert (_greys(video, [10, 300, 390]) - torch.tensor([10.0, 100.0, 190.0])).abs().max() <= 1
    assert len(decoded) < 60


def test_choice_of_decoder():
    assert choose_decoder("auto") == ("torchcodec" if torchcodec_works() else "pyav")
    with pytest.raises(ValueError, match="did you mean 'pyav'"):
        choose_decoder("pyaw")
    with mock.patch.object(decoding, "torchcodec_works", return_value=False):
        assert choose_decoder("auto") == "pyav"
        with pytest.raises(ValueError, match="decoder='torchcodec': it is not installed, or finds no FFmpeg"):
            choose_decoder("torchcodec")


def test_cover_pictures_are_no_video(tmp_path):
    path = tmp_path / "song.mp4"
    with av.open(path, "w") as file:
        cover, sound = file.add_stream("mjpeg", rate=1), file.add_stream("aac", rate=8000, layout="mono")
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        file.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 8000
        file.mux(sound.encode(silence))
        file.mux(sound.encode())
    with pytest.raises(BrokenSample, match=r"has no video stream \(it holds audio\)"):
        scan(path)
