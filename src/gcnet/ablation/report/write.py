"""Write a report in every format."""

from __future__ import annotations

from pathlib import Path

from gcnet.ablation.report.cost_figure import draw_cost
from gcnet.ablation.report.document import document
from gcnet.ablation.report.drawing import inline_svg, save
from gcnet.ablation.report.html import escape, html
from gcnet.ablation.report.latex import latex
from gcnet.ablation.report.markdown import markdown
from gcnet.ablation.report.seeds_figure import draw_seeds
from gcnet.ablation.report.summary import Summary
from gcnet.ablation.report.tables import runs_csv, variants_csv
from gcnet.files import whole_file

_CAPTIONS = {
    "cost": "Score against cost: mean and standard deviation over seeds; median and quartiles of latency",
    "seeds": "Every run: a point per seed, joined across variants",
}


def write_report(summary: Summary, out: Path) -> list[Path]:
    """Write report.md, report.tex, report.csv, runs.csv, report.html, and both pictures as SVG and PNG.

    Args:
        summary: from :func:`gcnet.ablation.report.summary.summarise`.
        out: folder, made if it is missing; files in it of those names are replaced, each at once.

    Returns:
        The files.

    Example:
        >>> from gcnet.ablation.report.write import write_report
        >>> [path.name for path in write_report(summary, Path("report"))]  # doctest: +SKIP
        ['cost.svg', 'cost.png', 'seeds.svg', 'seeds.png', 'report.md', 'report.tex', ...]
    """
    out.mkdir(parents=True, exist_ok=True)
    written = []
    figures = {"cost": draw_cost(summary), "seeds": draw_seeds(summary)}
    for name, figure in figures.items():
        for suffix in ("svg", "png"):
            written.append(out / f"{name}.{suffix}")
            save(figure, written[-1])
    found = document(summary)
    pictures = {_CAPTIONS[name]: inline_svg(figure, name, escape(_CAPTIONS[name])) for name, figure in figures.items()}
    texts = {
        "report.md": markdown(found),
        "report.tex": latex(found),
        "report.csv": variants_csv(summary),
        "runs.csv": runs_csv(summary),
        "report.html": html(found, pictures),
    }
    for name, text in texts.items():
        written.append(out / name)
        with whole_file(written[-1]) as partial:
            partial.write_text(text, encoding="utf-8")
    return written
