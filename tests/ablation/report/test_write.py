"""Every format of a report, of labels that would break it."""

import csv
import itertools
import json
import re
from html.parser import HTMLParser

import pytest

from gcnet.ablation.report.drawing import spread
from gcnet.ablation.report.summary import summarise
from gcnet.ablation.report.write import write_report
from tests.ablation.made import make_rows, make_study, make_table

NASTY = "50% a_b & <script>x</script> | $c$ #{d} \\ *e*\nf"
SCORES = {"none": [0.8, 0.81, 0.82], "up": [0.9, 0.92, 0.91], "same": [0.81, 0.8, 0.82], "lost": [0.5]}
FILES = {"cost.svg", "cost.png", "seeds.svg", "seeds.png", "report.md", "report.tex", "report.csv", "runs.csv"}


@pytest.fixture(scope="module")
def summary():
    table = make_table(*SCORES, up=NASTY)
    return summarise(make_study(table, range(3), command="gcnet ablate x --a_b 5%"), make_rows(SCORES))


@pytest.fixture(scope="module")
def out(summary, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "made"
    assert {path.name for path in write_report(summary, folder)} == {*FILES, "report.html"}
    assert {path.name for path in folder.iterdir()} == {*FILES, "report.html"}
    return folder


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.bold, self.open = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "path", "use"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("meta", "path", "use"):
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "b":
            self.bold.append(data)


def test_html_is_balanced_self_contained_and_escaped(out):
    page = Page()
    page.feed((out / "report.html").read_text())
    assert page.open == []
    assert "script" not in {tag for tag, _ in page.tags}
    linked = [value for _, each in page.tags for name, value in each.items() if name in ("src", "href", "xlink:href")]
    assert all(value.startswith("#") for value in linked)
    names = [each["id"] for _, each in page.tags if "id" in each]
    assert len(names) == len(set(names))
    assert page.bold == ["+10.0 [9.0, 11.0]"]


def test_markdown_is_bold_once_and_every_line_has_all_cells(out):
    text = (out / "report.md").read_text()
    assert re.findall(r"\| \*\*(.*?)\*\* \|", text) == [r"+10.0 \[9.0, 11.0\]"]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {7, 6}
    assert "```bash\ngcnet ablate x --a_b 5%\n```" in text


def test_latex_is_balanced_and_escaped(out):
    text = (out / "report.tex").read_text()
    assert re.findall(r"\\textbf\{(\+.*?)\} &", text) == ["+10.0 {[}9.0, 11.0{]}"]
    begun, ended = (re.findall(rf"\\{word}\{{(.*?)\}}", text) for word in ("begin", "end"))
    assert sorted(begun) == sorted(ended)
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    body = re.sub(r"\\[%_&#${}]", "", text.partition("\n")[2])
    assert "%" not in body
    assert "#" not in body
    rows = [line for line in body.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {line.count("&") for line in rows} == {5, 4}


def test_csv_has_every_digit(out, summary):
    with (out / "report.csv").open(newline="") as file:
        found = {row["variant"]: row for row in csv.DictReader(file)}
    assert list(found) == list(SCORES)
    assert float(found["up"]["difference"]) == summary["up"].difference.mean
    assert found["up"]["label"] == NASTY
    assert json.loads(found["lost"]["lost"]) == {"1": "missing", "2": "missing"}
    assert [found[name]["supported"] for name in SCORES] == ["", "True", "False", "False"]
    with (out / "runs.csv").open(newline="") as file:
        runs = [*csv.DictReader(file)]
    assert len(runs) == 12
    assert [float(run["val_top1"]) for run in runs if run["variant"] == "up"] == SCORES["up"]


def test_labels_keep_apart_and_within():
    moved = sorted(spread([0.5, 0.5, 0.51, 0.99, 1.0], 0.1, 0.0, 1.0))
    assert all(b - a > 0.0999 for a, b in itertools.pairwise(moved))
    assert moved[0] >= 0
    assert moved[-1] <= 1
