"""The command line: ``gcnet <verb>``. A verb is imported when it is called."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple


class Verb(NamedTuple):
    """Where a verb lives, what it needs and what it does."""

    module: str
    extra: str
    summary: str


VERBS = {
    "ablate": Verb(
        "gcnet.ablation.cli", "ablation", "compare blocks fairly: a table of the paper or your own, over several seeds"
    ),
    "audit": Verb("gcnet.study.audit_cli", "train", "how much the attention of a network depends on the query"),
    "attend": Verb("gcnet.study.attend_cli", "train", "where the blocks of a network look in pictures, as a figure"),
    "bench": Verb("gcnet.benchmarks.cli", "models", "time the blocks against other libraries' on this machine"),
    "collapse": Verb(
        "gcnet.study.collapse_cli", "train", "non-local blocks of a run as cheap ones, where the query does not matter"
    ),
    "convert": Verb("gcnet.checkpoints.cli", "models", "weights of other libraries as ours and back, with a report"),
    "cost": Verb("gcnet.analysis.cli", "models", "parameters and multiply-adds of a backbone with and without a block"),
    "data": Verb(
        "gcnet.recipes.data_cli", "train", "make data to try a training on, or check your own: gcnet data check DIR"
    ),
    "demo": Verb("gcnet.recipes.cli", "train", "train a plain and a GC network on context scenes and compare them"),
    "evaluate": Verb("gcnet.recipes.cli", "train", "score the network of a run again, on its data or on other"),
    "explore": Verb("gcnet.explorer.cli", "explorer", "see attention on a web page: gcnet explore MODEL [MODEL2]"),
    "export": Verb(
        "gcnet.export.cli", "export", "a model as ONNX, torch.export or AOTInductor program, compared with eager"
    ),
    "predict": Verb("gcnet.recipes.cli", "train", "use the network of a run on images or videos"),
    "recipes": Verb("gcnet.recipes.table_cli", "train", "what gcnet train knows by name, with figures to aim at"),
    "train": Verb("gcnet.recipes.cli", "train", "train by a recipe on your own data: gcnet train RECIPE --data DIR"),
    "verify": Verb(
        "gcnet.checkpoints.verify_cli", "models", "the largest difference of two checkpoints' outputs, per stage"
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``gcnet`` with ``argv``, the arguments after the program's name; return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from gcnet import __version__

        print(f"gcnet {__version__}")
        return 0
    name, *rest = arguments
    if name not in VERBS:
        near = difflib.get_close_matches(name, VERBS, n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        print(f"gcnet: unknown verb {name!r}{hint}\n\n{usage()}", file=sys.stderr)
        return 2
    verb = VERBS[name]
    try:
        module = importlib.import_module(verb.module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "gcnet":
            raise
        print(f'gcnet {name} needs {error.name!r}: pip install "gcnet[{verb.extra}]"', file=sys.stderr)
        return 1
    status: int = getattr(module, name)(rest)
    return status


def usage() -> str:
    """The verbs, a line each."""
    width = max(map(len, VERBS))
    lines = [f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items()]
    return "\n".join(
        ["usage: gcnet <verb> [options]", "", *lines, "", "gcnet <verb> --help tells the options of a verb."]
    )


if __name__ == "__main__":
    sys.exit(main())
