"""A report as CSV, with every digit: a line per variant, and a line per run."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from typing import Any

from gcnet.ablation.report.summary import Run, Summary, VariantSummary


def variants_csv(summary: Summary) -> str:
    """A line per variant; empty where there is nothing. Scores are as in the rows: shares, not points.

    Example:
        >>> from gcnet.ablation.report.tables import variants_csv
        >>> variants_csv(summary).splitlines()[0]  # doctest: +SKIP
        'variant,label,metric,seeds,mean,...'
    """
    return _csv(_variant(summary, variant) for variant in summary.variants)


def runs_csv(summary: Summary) -> str:
    """A line per run of the study, with all its metrics; lost ones say why.

    Example:
        >>> from gcnet.ablation.report.tables import runs_csv
        >>> runs_csv(summary).splitlines()[0]  # doctest: +SKIP
        'variant,seed,key,lost,val_top1,...'
    """
    names = sorted({name for run in summary.runs if run.row is not None for name in run.row.metrics})
    return _csv(_run(run, names) for run in summary.runs)


def _variant(summary: Summary, variant: VariantSummary) -> dict[str, Any]:
    found, costs = variant.difference, variant.costs
    row = None if summary.paper is None else summary.paper.rows.get(variant.name)
    score = None if row is None else row.scores[summary.paper_score]
    return {
        "variant": variant.name,
        "label": variant.label,
        "metric": summary.metric,
        "seeds": len(variant.values),
        "lost": json.dumps(dict(variant.lost)) if variant.lost else None,
        "mean": variant.mean,
        "standard_deviation": variant.deviation,
        "baseline": summary.study.table.baseline,
        "difference": found and found.mean,
        "low": found and found.low,
        "high": found and found.high,
        "level": summary.level,
        "shared_seeds": found and len(found.values),
        "left_out_seeds": found and " ".join(map(str, found.left_out)),
        "supported": found and found.supported,
        "parameters": costs and costs.parameters,
        "added_parameters": costs and costs.added,
        "macs": costs and costs.macs,
        "latency_ratio_low": costs and costs.latency_ratio.low,
        "latency_ratio": costs and costs.latency_ratio.median,
        "latency_ratio_high": costs and costs.latency_ratio.high,
        "memory_mb": costs and costs.memory_mb,
        "seconds": costs and costs.seconds,
        "paper_table": row and summary.paper and summary.paper.printed,
        "paper_label": row and row.label,
        "paper_score_name": row and summary.paper_score,
        "paper_score": score and score.value,
        "paper_score_status": score and score.status,
        "paper_params_millions": row and row.params.value,
        "paper_params_status": row and row.params.status,
        "paper_gflops": row and row.gflops.value,
        "paper_gflops_status": row and row.gflops.status,
    }


def _run(run: Run, metrics: Iterable[str]) -> dict[str, Any]:
    row = run.row
    low, middle, high = (None,) * 3 if row is None else row.latency_ratio
    plain = ("score", "threads", "parameters", "added_parameters", "macs", "latency_ms", "memory_mb", "seconds")
    return {
        "variant": run.variant,
        "seed": run.seed,
        "key": run.key,
        "lost": run.lost,
        **{name: row and row.metrics.get(name) for name in metrics},
        **{name: row and getattr(row, name) for name in plain},
        "input_shape": row and "x".join(map(str, row.input_shape)),
        "latency_ratio_low": low,
        "latency_ratio": middle,
        "latency_ratio_high": high,
        **{name: row and getattr(row, name) for name in ("sources", "data", "started", "finished")},
        "versions": row and json.dumps(dict(row.versions)),
        "hardware": row and json.dumps(dict(row.hardware)),
    }


def _csv(lines: Iterable[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    written = [*lines]
    writer = csv.DictWriter(text, written[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(written)
    return text.getvalue()
