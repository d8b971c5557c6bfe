"""Files that a paper can take."""

import base64
import io
from xml.etree import ElementTree

import matplotlib.image
import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")

from gcnet.analysis.figures import attention_figure, save_figure
from gcnet.analysis.figures.sheet import figure_paths
from tests.analysis.figures.shots import one_hot, panels, pixels, row_of


@pytest.fixture
def figure():
    picture = torch.zeros(3, 40, 60, dtype=torch.uint8)
    return attention_figure([row_of(picture, one_hot((4, 6), (1, 4)), (0.5, 0.5))], width=8.5)


def test_every_format(figure, tmp_path):
    written = save_figure(figure, tmp_path / "new" / "a.png", ("png", "svg", "pdf"), title="Attention")
    assert [path.name for path in written] == ["a.png", "a.svg", "a.pdf"]
    height, width = matplotlib.image.imread(written[0]).shape[:2]
    assert width / 300 * 2.54 == pytest.approx(figure.get_figwidth() * 2.54, abs=0.02)
    assert height > 100
    texts = {"".join(node.itertext()).strip() for node in ElementTree.parse(written[1]).iter() if "text" in node.tag}
    assert {"picture", "query 1", "\N{MULTIPLICATION SIGN} uniform"} <= texts
    content = written[2].read_bytes()
    assert content.startswith(b"%PDF-")
    assert content.rstrip().endswith(b"%%EOF")
    assert b"/Type3" not in content
    assert b"/FontFile2" in content


def test_every_format_has_the_same_colours(figure, tmp_path):
    """Vector formats put the images of a panel together before they are drawn."""
    (path,) = save_figure(figure, tmp_path / "a.svg")
    images = [node for node in ElementTree.parse(path).iter() if node.tag.endswith("image")]
    _, encoded = images[1].get("{http://www.w3.org/1999/xlink}href").split(",")
    vector = matplotlib.image.imread(io.BytesIO(base64.b64decode(encoded)))[::-1]  # which SVG turns upright
    shot = pixels(figure, panels(figure)[1]) / 255
    for y, x in ((0.1, 0.1), (0.375, 0.75), (0.9, 0.9)):
        first, second = (drawn[int(y * len(drawn)), int(x * drawn.shape[1]), :3] for drawn in (vector, shot))
        np.testing.assert_allclose(first, second, atol=0.02)


def test_the_same_figure_makes_the_same_files(figure, tmp_path):
    for name in ("svg", "pdf"):
        first, second = (save_figure(figure, tmp_path / f"{n}.{name}")[0].read_bytes() for n in "ab")
        assert first == second


def test_a_file_is_of_the_format_of_its_suffix(figure, tmp_path):
    (path,) = save_figure(figure, tmp_path / "a.svg")
    assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_other_formats(tmp_path):
    with pytest.raises(ValueError, match=r"suffix='.jpg' is not one of '.png', '.svg', '.pdf'"):
        figure_paths(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match=r"format='pgn' is not one of .* did you mean 'png'"):
        figure_paths(tmp_path / "a.png", ("svg", "pgn"))
