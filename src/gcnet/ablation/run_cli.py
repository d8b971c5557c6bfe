"""``gcnet ablate TABLE``: from the command line to a finished study."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gcnet.ablation.options import Options, take_options
from gcnet.recipes.parsing import given, parse

if TYPE_CHECKING:
    from gcnet.ablation.bases import Base
    from gcnet.ablation.engines.event import Event
    from gcnet.ablation.job import Job
    from gcnet.ablation.plan import Plan, Standing
    from gcnet.ablation.store import Store
    from gcnet.ablation.study import Study
    from gcnet.ablation.table import Table

PROGRAM = "gcnet ablate"


def run_table(name: str, argv: list[str]) -> int:
    """Run a table, or say what would run.

    Args:
        name: of a table, or path of a file.
        argv: further arguments.

    Returns:
        0, or 1 if runs failed.

    Raises:
        ValueError, OSError: a user's mistake.
        KeyboardInterrupt: Ctrl-C, after everything was stopped; says what is kept.

    Example:
        >>> run_table("block", ["--seeds", "1", "--dry-run"])  # doctest: +SKIP
    """
    from gcnet.ablation.data import make_data

    options, fields = take_options(name, argv)
    table, base, default = _base(options, fields)
    if make_data(base.config, base.scenes):
        print(f"Made context scenes in {base.config.data}", file=sys.stderr)
    plan = _plan(options, table, base, default)
    if options.dry_run:
        _dry_run(options, plan)
        return 0
    return _run(options, plan, base, default)


def _base(options: Options, fields: list[str]) -> tuple[Table, Base, Any]:
    """The table, what its variants share, and what that is without options of the command line."""
    from gcnet.ablation.bases import Base, base_of
    from gcnet.ablation.plan import resolve
    from gcnet.ablation.reading import is_file, read_table
    from gcnet.ablation.table import BLOCK_FIELDS, without_block
    from gcnet.benchmarks.environment import usable_cores
    from gcnet.recipes.cli import without_alternatives

    task, data, recipe, own = options.task or "classification", options.data, options.recipe, {}
    if is_file(options.table):
        read = read_table(Path(options.table), options.task)
        table, task, own = read.table, read.task, dict(read.base)
        data, recipe = data or read.data, recipe or read.recipe
    else:
        from gcnet.ablation.listing import find_table

        table = find_table(options.table)
    base = base_of(task, data=data, recipe=recipe)
    for field in ("seed", *BLOCK_FIELDS):
        if given(fields, field):
            say = "--seeds" if field == "seed" else "a variant says all about its block; write a table of your own"
            raise ValueError(f"--{field.replace('_', '-')} is not for all variants: {say}")
    default = replace(base.config, **own)
    config = parse(f"{PROGRAM} {options.table}", without_alternatives(default, fields), fields)
    config = without_block(config)
    if not config.threads:
        config = replace(config, threads=options.threads(usable_cores()))
    resolve(table, config, options.variants)  # before any data is made
    return table, Base(config, base.scenes), default


def _plan(options: Options, table: Table, base: Base, default: Any) -> Plan:
    from gcnet.ablation.check import describe
    from gcnet.ablation.command import command_of
    from gcnet.ablation.plan import make_plan

    return make_plan(
        table,
        base,
        seeds=options.seeds,
        out=options.out,
        chosen=options.variants,
        about=describe(base.config, base.scenes is not None),
        command=command_of(options, default, base.config, options.seeds),
    )


def _dry_run(options: Options, plan: Plan) -> None:
    from gcnet.ablation.check import check_jobs
    from gcnet.ablation.estimate import estimate
    from gcnet.ablation.measure import hardware
    from gcnet.ablation.plan import standing
    from gcnet.ablation.store import Store, without_password

    try:
        with Store(options.db, read_only=True) as store:
            stored = store.rows()
    except FileNotFoundError:
        stored = {}
    found = standing(plan, stored)
    check_jobs(found.to_run)
    print(_headline(plan))
    print(f"study {plan.study.name}, results in {without_password(options.db)}\n")
    rows = [*stored.values(), *found.found.values()]
    print(_counts(plan, found))
    device = hardware()["device"] if options.engine == "local" else None
    taken = estimate(found.to_run, rows, device)
    print(f"{len(found.to_run)} of {len(plan.jobs)} runs would be trained: {taken.text(options.jobs or 1)}")


def _headline(plan: Plan) -> str:
    study = plan.study
    runs = f"{len(study.keys)} variants x {len(study.seeds)} seeds"
    return f"{study.table.title}, {study.task}: {runs}\n{study.about}"


def _counts(plan: Plan, found: Standing) -> str:
    """Every variant with the seeds that are new, to resume and done."""
    from gcnet.ablation.seeds import ranges

    states = {job.key: "to resume" for job in found.interrupted} | {job.key: "new" for job in found.new}
    width = max(map(len, plan.study.keys))
    lines = []
    for variant, keys in plan.study.keys.items():
        seeds: dict[str, list[int]] = {}
        for seed, key in keys.items():
            seeds.setdefault(states.get(key, "done"), []).append(seed)
        parts = [f"{state} {ranges(each)}" for state, each in seeds.items()]
        lines.append(f"  {variant:<{width}}  seeds {', '.join(parts)}")
    return "\n".join(lines)


def _run(options: Options, plan: Plan, base: Base, default: Any) -> int:
    from gcnet.ablation.check import check_jobs
    from gcnet.ablation.driver import drive
    from gcnet.ablation.live import Live
    from gcnet.ablation.plan import standing
    from gcnet.ablation.report_cli import show_report
    from gcnet.ablation.store import Store

    with Store(options.db) as store:
        found = standing(plan, store.rows([job.key for job in plan.jobs]))
        check_jobs(found.to_run)
        study = _with_older_seeds(options, plan, store, base, default)
        store.save_study(study)
        print(_headline(plan))
        print(f"study {study.name}, runs in {options.out}, results in {store.name}")
        print(f"runs: {len(found.rows)} done, {len(found.interrupted)} to resume, {len(found.new)} new", flush=True)
        shown = plan.study
        with Live(shown.table.title, tuple(shown.keys), shown.seeds, shown.keys, found.rows) as live:
            outcome = drive(plan, found, _events(options, base, found.to_run), store, live.show)
        if outcome.rows:
            out = options.out / "reports" / study.name if options.report else None
            show_report(store, store.study(study.name), out=out)
            if out is None:
                print(f"gcnet ablate report {study.name} writes it as Markdown, LaTeX, CSV and HTML", file=sys.stderr)
    for job in plan.jobs:
        if job.key in outcome.failed:
            print(f"{PROGRAM}: failed: {job.label}: {outcome.failed[job.key]} ({job.folder})", file=sys.stderr)
    return int(bool(outcome.failed))


def _with_older_seeds(options: Options, plan: Plan, store: Store, base: Base, default: Any) -> Study:
    """The study, whose command runs the seeds and variants of earlier calls as well."""
    from gcnet.ablation.command import command_of

    older = [study for study in store.studies() if study.name == plan.study.name]
    whole = older[0].joined(plan.study) if older else plan.study
    chosen = () if len(whole.keys) == len(whole.table.variants) else tuple(whole.keys)
    command = command_of(replace(options, variants=chosen), default, base.config, whole.seeds)
    return replace(plan.study, command=command)


def _events(options: Options, base: Base, jobs: Sequence[Job]) -> Iterator[Event]:
    """The engine at work; nothing starts before the first event is asked for."""
    if options.engine == "local":
        from gcnet.ablation.engines.local import run_local

        return run_local(jobs, at_once=options.jobs or 1)
    from gcnet.ablation.engines.ray import run_ray

    return run_ray(
        jobs,
        address=options.address,
        cpus=base.config.threads if options.cpus is None else options.cpus,
        gpus=options.gpus,
        retries=options.retries,
        at_once=options.jobs,
    )
