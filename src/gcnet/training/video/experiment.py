"""A video classifier's training: its data, network, scores and predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from gcnet.training import loading
from gcnet.training.class_folders import Labelled
from gcnet.training.classification.confusion import write_confusion
from gcnet.training.classification.task import likeliest
from gcnet.training.data_files import expand
from gcnet.training.experiment import Experiment
from gcnet.training.loading import BrokenSample, Loader, Place
from gcnet.training.network import check_runs
from gcnet.training.run_folder import save_json
from gcnet.training.video.clips import TrainingClips, VideoViews, read_views
from gcnet.training.video.config import VideoConfig
from gcnet.training.video.decoding import choose_decoder, scan
from gcnet.training.video.networks import video_network
from gcnet.training.video.pictures import strip
from gcnet.training.video.task import VideoTask
from gcnet.training.video.video_folder import SUFFIXES, check_videos, find_videos
from gcnet.training.video.views import Views

STRIPS = 4  # pictures of validation videos


class VideoExperiment(Experiment[VideoConfig, VideoTask]):
    """Videos in class folders or lists; a 3D classifier with or without blocks."""

    data: Labelled

    def open_data(self) -> tuple[tuple[str, ...], str]:
        """Find the videos, look for their frames if asked for."""
        choose_decoder(self.config.decoder)
        self.data = find_videos(self.config)
        summary = self.data.summary("video")
        if self.config.check_files:
            files = list(dict.fromkeys(path for path, _ in self.data.train + self.data.val))
            tails = check_videos(files, skip=self.config.on_broken == "skip")
            if tails:
                summary += f"; {len(tails)} with a broken tail are used as far as they go, such as {tails[0]}"
        return self.data.classes, summary

    def build_network(self) -> nn.Module:
        """The network with weights and blocks, tried on one clip.

        Raises:
            ValueError: naming the field that does not fit.
        """
        config = self.config
        net = video_network(config, len(self.classes))
        for name in ("crop", "test_crop"):
            size = getattr(config, name)
            check_runs(net, (1, 3, config.frames, size, size), f"{name}={size}, frames={config.frames}")
        return net

    def build_task(self, net: nn.Module) -> VideoTask:
        """The Lightning module around the network."""
        return VideoTask(net, self.config, self.classes)

    def train_loader(self, place: Place) -> Loader:
        """Random clips in shuffled batches of one process."""
        return loading.train_loader(TrainingClips(self.data.train, self.config), self.config, place)

    def val_loader(self, place: Place) -> Loader:
        """The views of every validation video once, over all processes; about as many at a time as training clips."""
        videos = max(1, self.config.batch_size // math.prod(Views.parse(self.config.views)))
        return loading.val_loader(VideoViews(self.data.val, self.config), self.config, place, batch_size=videos)

    def val_files(self) -> list[Path]:
        """Validation videos, each once."""
        return list(dict.fromkeys(path for path, _ in self.data.val))

    def write_scores(self, folder: Path, task: VideoTask) -> dict[str, object]:
        """Write ``classes.csv``, ``confusion.png`` and strips of a few validation videos below ``attention/``.

        Returns:
            The accuracy of every class; None of one without videos.
        """
        if task.confusion is None:
            return {}
        accuracies = write_confusion(folder, task.confusion, self.classes)
        (folder / "attention").mkdir(exist_ok=True)
        chosen = np.linspace(0, len(self.data.val) - 1, min(STRIPS, len(self.data.val))).round().astype(int)
        for number, index in enumerate(chosen, 1):
            path, label = self.data.val[index]
            try:
                self._judge(task, path, folder / "attention" / f"{number}.png", self.classes[label])
            except BrokenSample:  # left out of the scores as well
                continue
        return {"per_class": accuracies}

    def predict(self, task: VideoTask, inputs: Sequence[Path], out: Path) -> Path:
        """Write the likeliest classes of every video into ``predictions.json``, and a strip of each beside it.

        Args:
            task: trained, in eval mode, on its device.
            inputs: video files, or folders of them.
            out: an existing folder.

        Raises:
            FileNotFoundError: a folder without videos.
            BrokenSample: a file that cannot be read, by name.
        """
        found = []
        for number, path in enumerate(expand(inputs, SUFFIXES, "video"), 1):
            with self.leaving_out_broken():
                found.append(self._judge(task, path, out / f"{number:04}_{path.stem}.png"))
        save_json(out / "predictions.json", found)
        return out / "predictions.json"

    def _judge(self, task: VideoTask, path: Path, picture: Path, truth: str | None = None) -> dict[str, object]:
        """What the network says about a video; draws its middle view."""
        task.eval()
        video = scan(path)
        views = read_views(video, self.config).to(task.device)
        with torch.no_grad():
            probabilities = task.view_probabilities(views.unsqueeze(0))[0].mean(0)
        classes = likeliest(probabilities, self.classes)
        middle = views[len(views) // 2]
        title = f"{path.name}: {classes[0]['class']}  {classes[0]['probability']:.0%}"
        strip(picture, task.net, task.normalised(middle), middle, f"{title}, is {truth}" if truth else title)
        return {"file": str(path), "frames": len(video), "missing_frames": video.missing, "classes": classes}


EXPERIMENT = VideoExperiment
