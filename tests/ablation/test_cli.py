"""``gcnet ablate``, with an engine that trains nothing."""

import json
import shlex
import sys

import pytest

pytest.importorskip("timm")
pytest.importorskip("sqlalchemy")

from gcnet import cli
from gcnet.ablation.engines import event, local
from gcnet.ablation.store import Store
from tests.ablation import tiny

YAML = """
task: classification
recipe: classification
data: photos
base: {backbone: "timm:test_resnet", image_size: 32, epochs: 1, batch_size: 4, workers: 0, threads: 1, loggers: []}
variants:
  none: {label: nothing}
  gc: {block: gc, match: layer3.0, position: after_block}
  se: {block: se, match: layer3.0, position: after_block}
"""


class Engine:
    """Gives rows without a training; keeps what it was asked for."""

    def __init__(self):
        self.calls, self.fails, self.stop, self.options = [], (), None, {}

    def __call__(self, jobs, **options):
        self.options = options
        self.calls.append([job.label for job in jobs])
        for number, job in enumerate(jobs):
            if number == self.stop:
                raise KeyboardInterrupt
            yield event.Started(job.key)
            if any(name in job.label for name in self.fails):
                yield event.Failed(job.key, "out of memory")
            else:
                yield event.Finished(job.key, tiny.row(job))


@pytest.fixture
def engine(monkeypatch):
    engine = Engine()
    monkeypatch.setattr(local, "run_local", engine)
    return engine


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    tiny.photos(tmp_path / "photos")
    (tmp_path / "gates.yaml").write_text(YAML)
    return tmp_path


def ablate(text):
    return cli.main(["ablate", *shlex.split(text)])


def studies(place):
    with Store(place / "runs" / "ablations" / "results.sqlite", read_only=True) as store:
        return store.studies()


def test_a_table_of_a_file_runs_and_is_reported(engine, place, capsys):
    assert ablate("gates.yaml --seeds 3") == 0
    printed = capsys.readouterr().out
    assert "3 variants x 3 seeds" in printed
    assert "runs: 0 done, 0 to resume, 9 new" in printed
    assert "| nothing" in printed
    assert len(engine.calls[0]) == 9
    assert engine.options == {"at_once": 1}
    (study,) = studies(place)
    assert study.command == "gcnet ablate gates.yaml --seeds 3"
    assert study.about.startswith("photos, 8 training and 4 validation images of 2 classes; timm:test_resnet")


def test_runs_that_exist_are_not_repeated_and_seeds_add_up(engine, place, capsys):
    assert ablate("gates.yaml --seeds 2 --variants gc") == 0
    assert ablate("gates.yaml --seeds 3-3 --variants se") == 0
    assert ablate("gates.yaml --seeds 2 --variants gc") == 0
    assert [len(call) for call in engine.calls] == [4, 2, 0]
    (study,) = studies(place)
    assert {name: sorted(keys) for name, keys in study.keys.items()} == {"none": [0, 1, 3], "gc": [0, 1], "se": [3]}
    assert study.command == "gcnet ablate gates.yaml --seeds 0-1,3"
    assert "runs: 4 done, 0 to resume, 0 new" in capsys.readouterr().out


def test_rows_of_folders_are_taken_into_other_results(engine, place, capsys):
    plan = tiny.plan(place)
    assert ablate("gates.yaml --seeds 2 --db one.sqlite") == 0
    with Store(place / "one.sqlite") as one:
        rows = one.rows()
    for key, row in rows.items():
        folder = place / "runs" / "ablations" / key
        folder.mkdir(parents=True)
        (folder / "row.json").write_text(json.dumps(row.to_dict()))
    assert ablate("gates.yaml --seeds 2 --db two.sqlite") == 0
    with Store(place / "two.sqlite") as two:
        assert two.rows() == rows
    assert engine.calls[1] == []
    assert plan.study.keys["gc"][0] in rows  # and a table in Python gives the same runs


def test_failed_runs_are_named_at_the_end(engine, place, capsys):
    engine.fails = ("gc, seed 1",)
    assert ablate("gates.yaml --seeds 2") == 1
    said = capsys.readouterr().err
    assert "failed: gates, gc, seed 1: out of memory" in said
    engine.fails = ()
    assert ablate("gates.yaml --seeds 2") == 0
    assert engine.calls[1] == ["gates, gc, seed 1"]


def test_all_failed(engine, place, capsys):
    engine.fails = ("gates",)
    assert ablate("gates.yaml --seeds 1") == 1
    assert capsys.readouterr().err.count("out of memory") >= 3


def test_ctrl_c_keeps_what_is_finished(engine, place, capsys):
    engine.stop = 2
    assert ablate("gates.yaml --seeds 2") == 130
    assert "2 of 6 runs are finished and kept; the same command goes on" in capsys.readouterr().err
    engine.stop = None
    assert ablate("gates.yaml --seeds 2") == 0
    assert len(engine.calls[1]) == 4


def test_dry_run_writes_nothing(engine, place, capsys):
    assert ablate("gates.yaml --seeds 2 --dry-run") == 0
    printed = capsys.readouterr().out
    assert "6 of 6 runs would be trained: about" in printed
    assert "8 steps of each variant timed here" in printed
    assert not (place / "runs").exists()
    assert engine.calls == []
    ablate("gates.yaml --seeds 1 --variants gc")
    capsys.readouterr()
    assert ablate("gates.yaml --seeds 2 --dry-run --jobs 2") == 0
    printed = capsys.readouterr().out
    assert "gc    seeds done 0, new 1" in printed
    assert "se    seeds new 0-1" in printed
    assert "4 of 6 runs would be trained" in printed
    assert [len(studies(place)), len(engine.calls)] == [1, 1]


def test_fields_change_all_variants_and_stand_in_the_command(engine, place):
    assert ablate("gates.yaml --seeds 1 --lr 1/8 --image-size 40") == 0
    (study,) = studies(place)
    assert study.base["lr"] == 1 / 8
    assert study.command == "gcnet ablate gates.yaml --seeds 1 --lr 0.125 --image-size 40"


def test_threads_are_divided_and_stand_in_the_command(engine, place, monkeypatch):
    monkeypatch.setattr("gcnet.benchmarks.environment.usable_cores", lambda: 8)
    assert ablate("gates.yaml --seeds 1 --threads 0 --jobs 4") == 0
    (study,) = studies(place)
    assert study.base["threads"] == 2
    assert study.command == "gcnet ablate gates.yaml --seeds 1 --threads 2"
    assert engine.options == {"at_once": 4}


def test_ray_gets_its_resources(engine, place, monkeypatch):
    ray = pytest.importorskip("gcnet.ablation.engines.ray")
    monkeypatch.setattr(ray, "run_ray", engine)
    assert ablate("gates.yaml --seeds 1 --engine ray --address auto --gpus 0.5 --retries 1") == 0
    assert engine.options == {"address": "auto", "cpus": 1, "gpus": 0.5, "retries": 1, "at_once": None}


def test_report_files(engine, place, capsys):
    assert ablate("gates.yaml --seeds 3 --report") == 0
    name = studies(place)[0].name
    written = {path.name for path in (place / "runs" / "ablations" / "reports" / name).iterdir()}
    assert {"report.md", "report.tex", "report.csv", "runs.csv", "report.html", "cost.svg", "seeds.svg"} <= written


def test_results_are_read_without_data_and_runs(engine, place, capsys, monkeypatch):
    ablate("gates.yaml --seeds 3 --db results.sqlite")
    assert ablate("export results.jsonl --db results.sqlite") == 0
    assert "Wrote 9 runs and 1 studies" in capsys.readouterr().out
    away = place / "away"
    away.mkdir()
    (place / "results.jsonl").rename(away / "results.jsonl")
    monkeypatch.chdir(away)
    assert ablate("report --db results.jsonl") == 0
    assert "| nothing" in capsys.readouterr().out
    assert (away / "reports").is_dir()
    assert ablate("report gates --db results.jsonl --json --out here") == 0
    values = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in values["variants"]] == ["none", "gc", "se"]
    assert values["variants"][1]["difference"]["mean"] == 0
    assert ablate("merge all.sqlite results.jsonl") == 0
    assert "9 new runs" in capsys.readouterr().out
    assert ablate("studies --db all.sqlite") == 0
    assert "9 of 9" in capsys.readouterr().out
    assert ablate("studies --db all.sqlite --json") == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert (entry["table"], entry["seeds"], entry["finished"], entry["failed"]) == ("gates", [0, 1, 2], 9, 0)


def test_several_studies_are_listed(engine, place, capsys):
    ablate("gates.yaml --seeds 1")
    ablate("gates.yaml --seeds 1 --lr 0.1")
    capsys.readouterr()
    assert ablate("report") == 2
    said = capsys.readouterr().err
    assert all(study.name in said for study in studies(place))
    assert ablate("report gates") == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("blok", "did you mean 'block'"),
        ("none.yaml", "none.yaml: no such file"),
        ("--seeds 3", "give a table before --seeds"),
        ("gates.yaml --seeds none", "seeds='none' must be how many"),
        ("gates.yaml --variants gcc", "did you mean 'gc'"),
        ("gates.yaml --block se", "--block is not for all variants"),
        ("gates.yaml --seed 3", "--seed is not for all variants: --seeds"),
        ("gates.yaml --data nowhere", "nowhere"),
        ("gates.yaml --recipe coco-r50", "coco-r50"),
        ("gates.yaml --backbone resnte18", "backbone='resnte18'"),
        ("gates.yaml --cpus 2", "--cpus 2 goes with --engine ray"),
        ("gates.yaml --db mysql://host/db", "neither SQLite nor PostgreSQL"),
        ("block --recipe classification", "needs data: give --data DIR"),
        ("list blok", "did you mean 'block'"),
        ("report --db none.sqlite", "none.sqlite"),
        ("report no-such", "no-such"),
        ("merge all.sqlite", "give results to put into all.sqlite"),
        ("export results.txt", ".jsonl"),
    ],
)
def test_mistakes_are_one_line(engine, place, capsys, text, said):
    (place / "runs" / "ablations").mkdir(parents=True)
    with Store(place / "runs" / "ablations" / "results.sqlite"):
        pass
    assert ablate(text) == 2
    captured = capsys.readouterr().err.strip()
    assert said in captured
    assert captured.startswith("gcnet ablate: ")
    assert len(captured.splitlines()) == 1
    assert engine.calls == []


@pytest.mark.parametrize(
    ("text", "said"), [("--epoch 3", "--epoch"), ("--image-size 0", "image_size=0 must be"), ("--lr fast", "--lr")]
)
def test_options_that_do_not_fit_are_named(engine, place, capsys, text, said):
    with pytest.raises(SystemExit) as stop:
        ablate(f"gates.yaml {text}")
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_help_of_a_table_shows_own_options_and_fields(place, capsys):
    with pytest.raises(SystemExit) as stop:
        ablate("block --task detection --help")
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert "--dry-run" in printed
    assert "--epochs" in printed


def test_list(place, capsys):
    assert ablate("list") == 0
    assert "fusion" in capsys.readouterr().out
    assert ablate("list gates.yaml --json") == 0
    assert json.loads(capsys.readouterr().out)["variants"][1]["changes"]["match"] == ["layer3.0"]
    assert ablate("list --json") == 0
    assert [table["name"] for table in json.loads(capsys.readouterr().out)][-1] == "fusion"


@pytest.mark.parametrize(("module", "extra"), [("sqlalchemy", "ablation"), ("yaml", "ablation"), ("ray", "ray")])
def test_a_missing_package_says_what_to_install(engine, place, capsys, monkeypatch, module, extra):
    for name in [name for name in sys.modules if name.partition(".")[0] == module or "ablation.store" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    assert ablate("gates.yaml --seeds 1" + (" --engine ray" if module == "ray" else "")) == 1
    assert f"gcnet[{extra}]" in capsys.readouterr().err


@pytest.mark.slow
def test_from_the_command_to_trained_networks(place, capsys):
    assert ablate("gates.yaml --seeds 1 --jobs 2") == 0
    assert "runs: 0 done, 0 to resume, 3 new" in capsys.readouterr().out
    (study,) = studies(place)
    for _, _, key in study.runs():
        assert (place / "runs" / "ablations" / key / "row.json").is_file()
    assert ablate("gates.yaml --seeds 1") == 0
    assert "runs: 3 done" in capsys.readouterr().out
