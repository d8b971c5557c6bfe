"""Results of ablations in a database: a SQLite file, or a PostgreSQL server for a team.

Needs ``pip install "gcnet[ablation]"``; PostgreSQL also ``pip install "gcnet[postgresql]"``.
"""

from importlib.util import find_spec

if find_spec("sqlalchemy") is None:
    raise ModuleNotFoundError('results need sqlalchemy: pip install "gcnet[ablation]"', name="sqlalchemy")

from gcnet.ablation.store.address import without_password
from gcnet.ablation.store.store import Store
from gcnet.ablation.store.transfer import copy, export_json

__all__ = ["Store", "copy", "export_json", "without_password"]
