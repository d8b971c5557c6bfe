import pytest

from gcnet.analysis.paper import count_paper, format_paper
from gcnet.analysis.paper_tables import TABLES


@pytest.fixture(scope="module")
def rows():
    return count_paper()


def _find(rows, table, label):
    (found,) = [row for row in rows if (row.table, row.row) == (table, label)]
    return found


def test_exactly_five_rounded_cells_differ(rows):
    assert [(row.table, row.row) for row in rows if not row.equal] == [
        ("COCO (a)", "+1 SNL"),
        ("COCO (c)", "c5"),
        ("ImageNet (b)", "avg+scale"),
        ("ImageNet (b)", "avg+add"),
        ("Kinetics", "+all GC"),
    ]
    assert all(bool(row.note) != row.equal for row in rows)


@pytest.mark.parametrize(
    ("table", "label", "millions"),
    [
        ("COCO (a)", "baseline", 44.401),
        ("COCO (a)", "+1 NL", 46.500),
        ("COCO (a)", "+1 SNL", 45.451),
        ("COCO (a)", "+1 GC", 44.534),
        ("COCO (a)", "+all GC", 46.922),
        ("COCO (b)", "afterAdd", 46.922),
        ("COCO (c)", "c3", 44.536),
        ("COCO (c)", "c4", 45.201),
        ("COCO (c)", "c5", 45.987),
        ("COCO (d)", "w/o ratio", 64.352),
        ("COCO (d)", "r16", 46.921),
        ("COCO (d)", "r16+ReLU", 46.921),
        ("COCO (e)", "r4", 54.402),
        ("COCO (e)", "r8", 49.415),
        ("COCO (e)", "r32", 45.676),
        ("ImageNet (a)", "baseline", 25.557),
        ("ImageNet (a)", "+1 NL", 27.657),
        ("ImageNet (a)", "+1 SNL", 26.608),
        ("ImageNet (a)", "+1 GC", 25.690),
        ("ImageNet (a)", "+all GC", 28.079),
        ("ImageNet (b)", "avg+scale", 28.064),
        ("ImageNet (b)", "avg+add", 28.064),
        ("Kinetics", "baseline", 32.454),
        ("Kinetics", "+5 NL", 39.808),
        ("Kinetics", "+5 SNL", 36.132),
        ("Kinetics", "+5 GC", 34.300),
        ("Kinetics", "+all GC", 42.455),
    ],
)
def test_counted_parameters(rows, table, label, millions):
    assert round(_find(rows, table, label).params / 1e6, 3) == millions


def test_increments_agree_where_the_paper_prints_enough_digits(rows):
    for row in rows:
        if row.table.startswith("COCO"):
            assert row.delta == pytest.approx(row.paper_delta, abs=0.11)
        elif row.row != "+5 NL":
            assert row.delta == pytest.approx(row.paper_delta, abs=0.02)
    assert _find(rows, "COCO (a)", "+1 NL").delta == pytest.approx(9.339, abs=5e-4)
    assert _find(rows, "Kinetics", "+all GC").delta == pytest.approx(0.060, abs=5e-4)
    assert _find(rows, "ImageNet (a)", "baseline").gmacs == pytest.approx(3.858, abs=5e-4)


def test_every_row_is_printed_and_the_five_are_marked(rows):
    text = format_paper(rows)
    assert len(rows) == sum(len(table.rows) for table in TABLES) == 38
    assert sum(line.count("  *  ") for line in text.splitlines()) == 5
    assert "33 of 38 rounded parameter counts are the paper's" in text
    for row in rows:
        assert f"{row.params / 1e6:.3f}" in text
        assert row.equal or row.note in text
