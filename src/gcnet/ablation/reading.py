"""Tables of users, out of YAML and Python files."""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from gcnet.ablation.fields import field_values
from gcnet.ablation.table import Table, Variant
from gcnet.blocks.base import check_choice
from gcnet.training.config import TASKS, TrainingConfig

KEYS = ("name", "title", "baseline", "variants", "task", "recipe", "data", "base", "note")


class TableFile(NamedTuple):
    """What a file says.

    Attributes:
        table: with the fields of its variants as the task's configuration takes them.
        task: classification, detection, segmentation or video.
        recipe: name of the one that all variants share; None for the default.
        data: of all variants; None for scenes.
        base: fields that are different from the recipe in all variants.
    """

    table: Table
    task: str
    recipe: str | None
    data: Path | None
    base: Mapping[str, Any]


def is_file(name: str) -> bool:
    """Whether the name of a table is that of a file.

    Example:
        >>> is_file("mine.yaml"), is_file("block")
        (True, False)
    """
    return Path(name).suffix in (".yaml", ".yml", ".py")


def read_table(path: Path, task: str | None = None) -> TableFile:
    """Read a table out of a file; modules beside it can be imported from then on, here and in processes started later.

    A YAML file has ``variants``, a mapping from names to the fields that are different, with an optional ``label``;
    and, if wanted, ``name``, ``title``, ``baseline`` (the first variant unless it says so), ``task``, ``recipe``,
    ``data`` (relative to the file), ``base`` (fields for all) and ``note``. A Python file has ``TABLE``, and if wanted
    ``TASK``, ``RECIPE``, ``DATA`` and ``BASE``; it is executed.

    Args:
        path: ends in .yaml, .yml or .py.
        task: instead of the file's; classification if neither says one.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: naming the file, and the variant and the field that are wrong.

    Example:
        >>> path = getfixture("tmp_path") / "gates.yaml"
        >>> _ = path.write_text('''
        ... variants:
        ...   none: {block: none}
        ...   se: {label: SE, block: se, ratio: 1/16, stages: "c3,c4,c5"}
        ... ''')
        >>> read_table(path).table["se"].changes
        {'block': 'se', 'ratio': 0.0625, 'stages': ('c3', 'c4', 'c5')}
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; a table is one of gcnet ablate list, or a .yaml or .py file")
    make_importable(path.parent.absolute())
    content = _python(path) if path.suffix == ".py" else _yaml(path)
    task = task or content.get("task") or "classification"
    try:
        check_choice("task", task, TASKS)
        kind: type[TrainingConfig] = import_module(f"gcnet.training.{task}.config").CONFIG
        base = field_values(kind, _mapping(content.get("base") or {}, "base"), "base")
        table = content["table"] if "table" in content else _table(path, content)
        variants = tuple(_typed(variant, kind) for variant in table.variants)
        table = Table(table.name, table.title, variants, table.baseline, table.paper, table.note)
        if not re.fullmatch(r"[\w-]+", table.name):
            raise ValueError(f"name={table.name!r} may have letters, digits, - and _ only: files are named after it")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    data = content.get("data")
    return TableFile(table, task, content.get("recipe"), path.parent / data if data else None, base)


def make_importable(folder: Path) -> None:
    """Let this process, and those that it starts, import modules out of a folder.

    It comes last: a ``random.py`` or ``yaml.py`` beside a table does not take the place of an installed module.
    """
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _python(path: Path) -> dict[str, Any]:
    try:
        found = runpy.run_path(str(path))
    except Exception as error:
        raise ValueError(f"{path}: {type(error).__name__}: {error}") from error
    if not isinstance(found.get("TABLE"), Table):
        raise ValueError(f"{path}: has no TABLE = gcnet.ablation.table.Table(...)")
    names = ("table", "task", "recipe", "data", "base")
    return {name: found[name.upper()] for name in names if name.upper() in found}


def _yaml(path: Path) -> dict[str, Any]:
    import yaml  # type: ignore[import-untyped]

    class Loader(yaml.SafeLoader):
        """Refuses a name that stands twice in one mapping."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            names = [self.construct_object(key, deep=True) for key, _ in node.value]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"{path}: {twice!r} stands twice, again before line {node.end_mark.line + 1}")
            return dict(super().construct_mapping(node, deep))

    try:
        content = yaml.load(path.read_text(), Loader)  # a SafeLoader: it makes plain values only
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read as YAML ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: is no mapping with 'variants'")
    try:
        for key in content:
            check_choice("key", key, KEYS)
        for key in set(content) - {"variants", "base"}:
            if not isinstance(content[key], str):
                raise ValueError(f"{key}={content[key]!r} must be text")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return content


def _table(path: Path, content: Mapping[str, Any]) -> Table:
    variants = _mapping(content.get("variants"), "variants")
    name = content.get("name", path.stem)
    return Table(
        name=name,
        title=content.get("title", name),
        variants=tuple(_variant(each, changes) for each, changes in variants.items()),
        baseline=content.get("baseline") or next(iter(variants), ""),
        note=content.get("note", ""),
    )


def _variant(name: Any, changes: Any) -> Variant:
    if not isinstance(name, str):
        raise ValueError(f"variant {name!r}: a name must be text; put it in quotes")
    fields = dict(_mapping({} if changes is None else changes, f"variant {name!r}"))
    label = fields.pop("label", name)
    if not isinstance(label, str):
        raise ValueError(f"variant {name!r}: label={label!r} must be text; put it in quotes")
    return Variant(name, label, fields)


def _typed(variant: Variant, kind: type[TrainingConfig]) -> Variant:
    return Variant(variant.name, variant.label, field_values(kind, variant.changes, f"variant {variant.name!r}"))


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{what}: {value!r} must be a mapping of names to values")
    return value
