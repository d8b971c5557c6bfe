"""Build the wheel and try it in a clean environment that has torch alone.

The environment borrows torch and what torch needs from the one that runs this file, so that nothing large is
downloaded; every other package is out of its sight.
"""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]

TRY = """
import importlib.util, sys, torch, gcnet
for name in ("torchvision", "timm", "lightning", "tyro", "matplotlib", "PIL"):
    assert importlib.util.find_spec(name) is None, name
assert ".venv" not in gcnet.__file__ and "site-packages" in gcnet.__file__, gcnet.__file__
import shutil
if shutil.which("c++"):
    with gcnet.ops.backend("native"):
        pass
x = torch.randn(2, 64, 7, 7)
for name in gcnet.__all__:
    getattr(gcnet, name)
assert torch.equal(gcnet.GlobalContext(64)(x), x)
model = torch.nn.Sequential(torch.nn.Conv2d(3, 64, 3), torch.nn.ReLU())
gcnet.insert(model, gcnet.GlobalContext.spec(), match="1")
assert len(list(gcnet.added_parameters(model))) == 8
assert (importlib.util.find_spec("gcnet").submodule_search_locations and
        __import__("pathlib").Path(gcnet.__file__).with_name("py.typed").exists())
from gcnet.cli import main
assert main(["--version"]) == 0
assert main(["cost"]) == 1
print("wheel smoke test: passed on torch", torch.__version__)
"""


def torch_closure() -> set[str]:
    """Names of torch and everything it requires, as installed here."""
    found: set[str] = set()
    queue = ["torch"]
    while queue:
        name = re.split(r"[^\w.-]", queue.pop())[0].lower().replace("_", "-")
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if name not in found:
            found.add(name)
            queue += [line for line in distribution.requires or () if "extra ==" not in line]
    return found


def borrow(site: Path) -> None:
    """Link the files of torch's distributions into ``site``."""
    tops: set[Path] = set()
    for name in torch_closure():
        distribution = importlib.metadata.distribution(name)
        root = Path(str(distribution.locate_file("")))
        tops |= {
            root / file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")
        }
    for top in tops:
        target = site / top.name
        if not target.exists():
            target.symlink_to(top)


def check_pages(wheel: Path) -> None:
    """The page of the explorer is there, whole."""
    pages = {path.relative_to(ROOT / "src").as_posix() for path in ROOT.glob("src/gcnet/explorer/static/*")}
    assert pages, "no pages in the source"
    with zipfile.ZipFile(wheel) as archive:
        missing = pages - set(archive.namelist())
    assert not missing, missing


def main() -> None:
    """Build, install, try."""
    with tempfile.TemporaryDirectory() as folder:
        dist, home = Path(folder, "dist"), Path(folder, "venv")
        subprocess.run(
            [sys.executable, "-m", "build", "--wheel", "--outdir", str(dist), str(ROOT)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        (wheel,) = dist.glob("*.whl")
        check_pages(wheel)
        venv.create(home, with_pip=True)
        python = home / "bin" / "python"
        site = Path(
            subprocess.check_output([python, "-c", "import site; print(site.getsitepackages()[0])"], text=True).strip()
        )
        borrow(site)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", str(wheel)], check=True)
        subprocess.run([python, "-c", TRY], check=True, cwd=folder)


if __name__ == "__main__":
    main()
