"""``gcnet explore``: the page on this machine."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import sys
import webbrowser
from dataclasses import dataclass
from pathlib import Path

import tyro
import uvicorn
from PIL import Image

from gcnet.explorer.app import build_app
from gcnet.explorer.gallery import Gallery
from gcnet.explorer.passes import run_pass
from gcnet.recipes.parsing import guarded
from gcnet.study.pictures import find_pictures, thinned
from gcnet.study.subject import Subject, open_subject

MOST_IMAGES = 500


@dataclass(frozen=True)
class Arguments:
    """See the attention of a network, or of two, on a web page of this machine: move over an image, see the map."""

    model: tyro.conf.Positional[str]
    """Folder of a run, file of gcnet.save, or a name such as torchvision:resnet18 or timm:vit_tiny_patch16_224."""
    model2: tyro.conf.Positional[str] = ""
    """Another one to compare with, which sees the same images."""
    images: Path | None = None
    """Folder of images or videos, or one file. By default the validation data of the run; more can be dropped in."""
    host: str = "127.0.0.1"
    """Address to listen on. Any other than this machine's own opens the page to the network."""
    port: int = 0
    """By default a free one."""
    checkpoint: str = "best"
    """Of runs: best or last."""
    weights: str = ""
    """Of networks by name: pretrained, or a file. By default random ones."""
    size: int | None = None
    """Side of the square that images are cropped to, of networks by name. By default the network's own."""
    no_browser: bool = False
    """Print the address only."""


def explore(argv: list[str]) -> int:
    """Run ``gcnet explore MODEL [MODEL2] [--images DIR]`` until Ctrl-C.

    Returns:
        130 after Ctrl-C, 2 after a mistake in the arguments.
    """
    return guarded("gcnet explore", lambda: _run(argv))


def _run(argv: list[str]) -> None:
    config = (tyro.conf.FlagCreatePairsOff,)
    arguments = tyro.cli(Arguments, args=argv, prog="gcnet explore", config=config)
    subjects = [_open(name, arguments) for name in (arguments.model, arguments.model2) if name]
    kinds = {subject.kind for subject in subjects}
    if len(kinds) > 1:
        raise ValueError(f"{arguments.model} and {arguments.model2}: one sees images, the other videos")
    gallery = _gallery(arguments.images, subjects[0])
    with listen(arguments.host, arguments.port) as listening:
        app = build_app(subjects, gallery, arguments.host)
        port = listening.getsockname()[1]
        address = f"http://{f'[{arguments.host}]' if ':' in arguments.host else arguments.host}:{port}"
        print(f"{address}  (Ctrl-C ends it)", flush=True)
        if not _is_local(arguments.host):
            print(
                f"warning: host={arguments.host}: whoever reaches this machine can see these images and use this page; "
                "there is no password",
                file=sys.stderr,
            )
        if not arguments.no_browser:
            webbrowser.open(address)
        settings = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
        uvicorn.Server(settings).run(sockets=[listening])


def _open(name: str, arguments: Arguments) -> Subject:
    subject = open_subject(
        name, checkpoint=arguments.checkpoint, weights=arguments.weights or None, size=arguments.size
    )
    if subject.kind == "image":  # that there is attention to see is better known now than on the page
        try:
            run_pass(subject, subject.see(Image.new("RGB", (256, 256))))
        except ValueError as error:
            raise ValueError(f"{name}: {str(error).removeprefix(f'{name}: ')}") from error
    return subject


def _gallery(images: Path | None, subject: Subject) -> Gallery:
    if images is not None and not images.exists():
        raise FileNotFoundError(f"images={images}: no such folder or file")
    folder = images or (subject.data if subject.data and subject.data.is_dir() else None)
    if folder is None and subject.kind == "video":
        raise ValueError(f"{subject.name} sees videos, which cannot be uploaded: give --images, a folder of them")
    if folder is None:
        print("No --images: drop some on the page.")
        return Gallery(kind=subject.kind)
    files = find_pictures(subject, folder)
    shown = thinned(files, MOST_IMAGES)
    gallery = Gallery(folder if folder.is_dir() else folder.parent, shown, subject.kind)
    some = f"{len(shown)} of the {len(files)}" if len(shown) < len(files) else str(len(files))
    elsewhere = f"; {gallery.left_out} links out of it are left out" if gallery.left_out else ""
    print(f"{some} {subject.kind}s of {folder}{elsewhere}")
    return gallery


def listen(host: str, port: int) -> socket.socket:
    """A socket that answers at once: without TCP_NODELAY the second part of an answer waits for 40 ms.

    Raises:
        ValueError: an address that cannot be listened on.
    """
    if not 0 <= port < 2**16:
        raise ValueError(f"port={port} must lie between 0, for a free one, and {2**16 - 1}")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(address[:2], family=family)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except (OSError, UnicodeError) as error:
        reason, other = "no address of this machine", "127.0.0.1"
        if isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EACCES):
            reason, other = os.strerror(error.errno), "--port 0"
        raise ValueError(f"host={host}, port={port}: cannot listen there ({reason}); try {other}") from error


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
