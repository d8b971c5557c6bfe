"""``gcnet ablate``: the tables of the paper, or your own, run fairly and reported."""

from __future__ import annotations

import tyro  # noqa: F401  # reads the options of every verb below

from gcnet.recipes.parsing import guarded

USAGE = """usage: gcnet ablate TABLE [--task TASK] [--data DIR] [--seeds N] [options]
       gcnet ablate FILE.yaml|FILE.py [...]
       gcnet ablate list [TABLE] [--json]
       gcnet ablate report [STUDY] [--db FILE|URL] [--metric NAME] [--out DIR] [--json]
       gcnet ablate studies [--db FILE|URL] [--json]
       gcnet ablate merge INTO FROM... ; gcnet ablate export FILE.jsonl [--db FILE|URL]

TABLE is block, position, stage, bottleneck, ratio or fusion. Every variant is trained with every seed, for as long and
on the same data; runs that exist are not repeated, interrupted ones go on.

  --task TASK        classification (default), detection, segmentation or video
  --data DIR         of the task's kind; by default context scenes are made in runs/scenes
  --recipe NAME      that all variants share (gcnet recipes); by default a small ResNet on scenes, and on data of your
                     own the recipe that is called like the task
  --seeds N          how many (default 5), a range 3-7 or a list 0,1,2
  --variants A,B     some of the table; the baseline always runs
  --out DIR          of the runs (default runs/ablations), a folder each, named by its identity
  --db FILE|URL      of the results (default results.sqlite in --out), or postgresql://...
  --engine ENGINE    local (default) or ray
  --jobs N           runs at a time (default 1); they share the cores
  --address A        with ray: of a cluster, such as auto; by default a local one is started
  --cpus N --gpus N  with ray: of each run (default its threads, and none)
  --retries N        with ray: of a run whose worker died (default 2)
  --dry-run          say what would run and about how long; trains nothing
  --report           write the whole report in the end, as gcnet ablate report does
  --FIELD VALUE      any field of the configuration, for all variants: --epochs 3 --backbone resnet50

all fields: gcnet ablate TABLE [--task TASK] --help
exit status: 0, 1 if runs failed, 2 after a mistake in the arguments, 130 after Ctrl-C (what is finished is kept)"""

#: Modules that are missing without an extra.
EXTRAS = {"ray": "ray", "psycopg": "postgresql", "sqlalchemy": "ablation", "yaml": "ablation"}


def ablate(argv: list[str]) -> int:
    """Run ``gcnet ablate`` with these arguments.

    Returns:
        0; 1 if runs failed; 2 after an error in the arguments, which is printed to stderr; 130 after Ctrl-C.

    Example:
        >>> ablate(["list", "ratio", "--json"])
        {
          "name": "ratio",
        ...
        0
    """
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE)
        raise SystemExit(0 if argv else 2)
    status = [0]

    def run() -> None:
        status[0] = _verb(argv[0], argv[1:])

    return guarded("gcnet ablate", run, EXTRAS) or status[0]


def _verb(name: str, argv: list[str]) -> int:
    if name == "list":
        from gcnet.ablation.listing import list_tables

        list_tables(argv)
        return 0
    if name in ("report", "studies", "merge", "export"):
        from gcnet.ablation import report_cli

        getattr(report_cli, name)(argv)
        return 0
    return _run(name, argv)


def _run(name: str, argv: list[str]) -> int:
    if name.startswith("-"):
        raise ValueError(f"give a table before {name}: gcnet ablate list shows all")
    from gcnet.ablation.run_cli import run_table

    if "-h" in argv or "--help" in argv:
        print(USAGE, "\n")
    return run_table(name, argv)
