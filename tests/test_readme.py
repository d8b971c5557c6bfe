"""README's Python runs as printed, and prints what README shows."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_python_blocks_run_and_print_what_is_shown(capsys):
    pytest.importorskip("torchvision")
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    shown = re.search(r"```\n(GlobalContext\.spec.*?)```", README, re.DOTALL)
    assert shown is not None
    for line in shown[1].splitlines():
        assert line == "..." or line in printed.splitlines()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", README))))
def test_links_lead_somewhere(path):
    assert (Path(__file__).parents[1] / path).exists()
