"""The datasets of PHAROS 2025/2026: at their full size, and with what their archives hold."""

from collections import Counter
from pathlib import Path

import pytest

from cov3d.datasets import scan_table
from cov3d.datasets.layouts import layout_of
from cov3d.datasets.stale import compare_tables, stale_sentence
from cov3d.errors import DatasetError
from tests.datasets.test_folds import JPEG, write_severities

TRAIN = {"covid": (175, 175, 39, 175), "non_covid": (163, 165, 165, 165)}
VALIDATION = {"covid": (43, 43, 0, 42), "non_covid": (45, 45, 45, 45)}
TEST = 1487
FOLDERS = {"covid": ("covid1", "covid2"), "non_covid": ("non-covid1", "non-covid2", "non-covid3")}


def scan(root: Path, *names: str, slices: tuple[str, ...] = ("0.jpg", "1.jpg")) -> None:
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)
        for file in slices:
            (root / name / file).write_bytes(JPEG)


def table(root: Path, name: str, *rows: str, header: str = "ct_scan_name,data_centre") -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("\n".join((header, *rows, "")))


def full(root: Path) -> None:
    """The full set, its test set included."""
    for kind in FOLDERS:
        centres = [str(centre) for centre, count in enumerate(TRAIN[kind]) for _ in range(count)]
        for number in range(len(centres)):
            scan(root, f"{FOLDERS[kind][number % len(FOLDERS[kind])]}/ct_scan_{number}")
        table(root, f"train_{kind}.csv", *(f"ct_scan_{number},{centre}" for number, centre in enumerate(centres)))
        centres = [str(centre) for centre, count in enumerate(VALIDATION[kind]) for _ in range(count)]
        for number in range(len(centres)):
            scan(root, f"Validation/val/{kind.replace('_', '-')}/ct_scan_{number}")
        table(root, f"validation_{kind}.csv", *(f"ct_scan_{number},{centre}" for number, centre in enumerate(centres)))
    for number in range(TEST):
        scan(root, f"1st_challenge_test_set/test/ct_scan_{number}")


def rows_of(root: Path) -> dict[str, tuple[str, str, str]]:
    """Partition, label and centre of each scan."""
    found = scan_table.build(root, seed=0).table
    centres = found["centre"] if "centre" in found else [""] * len(found)
    return dict(zip(found["scan"], zip(found["partition"], found["label"], centres, strict=True), strict=True))


def small(root: Path) -> Path:
    """Six scans for training and two for validation, with their tables."""
    scan(root, *(f"covid1/ct_scan_{number}" for number in range(3)))
    scan(root, *(f"non-covid1/ct_scan_{number}" for number in range(3)))
    scan(root, "Validation/val/covid/ct_scan_0", "Validation/val/non-covid/ct_scan_0")
    table(root, "train_covid.csv", "ct_scan_0,0", "ct_scan_1,1", "ct_scan_2,3")
    table(root, "train_non_covid.csv", "ct_scan_0,0", "ct_scan_1,1", "ct_scan_2,2")
    table(root, "validation_covid.csv", "ct_scan_0,3")
    table(root, "validation_non_covid.csv", "ct_scan_0,1")
    return root


def problems_of(root: Path) -> list[str]:
    return [problem for problem in scan_table.build(root, seed=0).problems if "folds drawn" not in problem]


def test_the_full_set_has_its_counts_by_centre_label_and_fold(tmp_path: Path) -> None:
    full(tmp_path)
    built = scan_table.build(tmp_path, seed=0)
    assert (built.layout, built.problems, built.left_out) == ("PHAROS 2025/2026", [], [])
    assert built.table.columns.tolist() == ["scan", "partition", "label", "fold", "centre"]
    for partition, counts in (("train", TRAIN), ("validation", VALIDATION)):
        rows = built.table[built.table["partition"] == partition]
        found = Counter(zip(rows["label"], rows["centre"], strict=True))
        assert found == Counter(
            {
                (kind.replace("_", "-"), str(centre)): count
                for kind, some in counts.items()
                for centre, count in enumerate(some)
                if count
            }
        )
    test = built.table[built.table["partition"] == "test"]
    assert len(test) == TEST
    assert set(test["label"]) == set(test["centre"]) == {""}
    assert test["fold"].isna().all()
    assert (built.table["fold"].eq(0) == (built.table["partition"] == "validation")).all()
    for label, total in (("covid", 564), ("non-covid", 658)):
        in_folds = [int(((built.table["fold"] == n) & (built.table["label"] == label)).sum()) for n in range(1, 5)]
        assert sum(in_folds) == total
        assert max(in_folds) - min(in_folds) <= 1


@pytest.mark.parametrize(
    ("places", "label", "partition"),
    [
        (("covid2",), "covid", "train"),
        (("non_covid3",), "non-covid", "train"),
        (("NonCOVID1",), "non-covid", "train"),
        (("train/covid1", "train/covid2"), "covid", "train"),
        (("archives/1st_challenge/train/non_covid1",), "non-covid", "train"),
        (("covid1/covid1",), "covid", "train"),  # an archive unpacked into a folder of its own name
        (("Validation/val/covid",), "covid", "validation"),
        (("archives/Validation/val/non_covid",), "non-covid", "validation"),
    ],
)
def test_class_folders_are_found_wherever_the_archives_were_unpacked(
    tmp_path: Path, places: tuple[str, ...], label: str, partition: str
) -> None:
    for place in places:
        scan(tmp_path, f"{place}/ct_scan_{place[-1]}", f"{place}/ct_scan_9{place[-1]}")
    rows = rows_of(tmp_path)
    assert set(rows) == {f"{place}/ct_scan_{number}{place[-1]}" for place in places for number in ("", "9")}
    assert set(rows.values()) == {(partition, label, "")}


def test_what_the_archives_hold_besides_slices_is_no_scan(tmp_path: Path) -> None:
    root = small(tmp_path)
    scan(root, "covid1/ct_scan_0", "non-covid1/ct_scan_1", slices=("._0.jpg", "._1.jpg", ".DS_Store"))
    scan(root, "__MACOSX/covid1/ct_scan_0", slices=("._0.jpg", "0.jpg", "1.jpg"))
    (root / "._train_covid.csv").write_bytes(b"\0\5\26\7")
    scan(root, "covid1/ct_scan_2/ct_scan_2")  # nested once more: its slices are in the inner folder
    for number in (0, 1):
        (root / f"covid1/ct_scan_2/{number}.jpg").unlink()
    rows = rows_of(root)
    assert len(rows) == 8
    assert rows["covid1/ct_scan_2/ct_scan_2"] == ("train", "covid", "3")
    assert problems_of(root) == []


def test_a_scan_unpacked_twice_stays_in_one_fold_with_its_centre(tmp_path: Path) -> None:
    root = small(tmp_path)
    scan(root, "covid2/ct_scan_30/ct_scan_30", "covid2/ct_scan_30", "covid2/ct_scan_31/a", "covid2/ct_scan_31/b")
    table(root, "train_covid.csv", *(f"ct_scan_{number},1" for number in (0, 1, 2, 30, 31)))
    found = scan_table.build(root, seed=0).table.set_index("scan")
    for case, inner in (("covid2/ct_scan_30", ("", "/ct_scan_30")), ("covid2/ct_scan_31", ("/a", "/b"))):
        rows = found.loc[[f"{case}{name}" for name in inner]]
        assert set(rows["patient"]) == {case}
        assert set(rows["centre"]) == {"1"}
        assert rows["fold"].nunique() == 1
    assert found.loc["covid1/ct_scan_0", "patient"] == ""
    assert problems_of(root) == []


def test_a_scan_that_a_table_names_and_one_that_it_lacks_are_reported(tmp_path: Path) -> None:
    root = small(tmp_path)
    table(root, "train_covid.csv", *(f"ct_scan_{number},0" for number in (0, 1, 7, 8, 9, 10)))
    assert problems_of(root) == [
        "train_covid.csv: 4 rows (line 4 'ct_scan_7', line 5 'ct_scan_8', line 6 'ct_scan_9', …) of no scan among "
        "the train covid scans",
        "train_covid.csv: 1 scan has no row with a centre among the train covid scans (the first is covid1/ct_scan_2)",
    ]
    assert rows_of(root)["covid1/ct_scan_2"] == ("train", "covid", "")


@pytest.mark.parametrize(
    ("rows", "centre", "sentence"),
    [
        (["ct_scan_0,0", "ct_scan_0,0"], "0", None),
        (["ct_scan_0,0", "ct_scan_0,2"], "", "lines 2 and 3: covid1/ct_scan_0 is of the centres 0 and 2"),
        (["ct_scan_0,"], "", "1 row (line 2 'ct_scan_0') without a centre"),
        (["CT_scan0,2.0"], "2", None),
        (["ct_scan_0, St. Mary "], "St. Mary", None),
        (["covid1/ct_scan_0,1"], "1", None),
    ],
)
def test_a_row_gives_a_centre_or_a_reason(tmp_path: Path, rows: list[str], centre: str, sentence: str | None) -> None:
    root = small(tmp_path)
    table(root, "train_covid.csv", *rows, "ct_scan_1,1", "ct_scan_2,1")
    assert rows_of(root)["covid1/ct_scan_0"] == ("train", "covid", centre)
    found = problems_of(root)
    assert any(sentence in problem for problem in found) if sentence else found == []


@pytest.mark.parametrize(
    "header", ["data_centre,ct_scan_name", "Centre;Scan", "data_center,age,ct_scan_name", "\ufeffname\thospital"]
)
def test_columns_of_a_table_of_centres_may_have_other_names(tmp_path: Path, header: str) -> None:
    root = small(tmp_path)
    separator = next(sign for sign in ",;\t" if sign in header)
    values = {"age": "50", **dict.fromkeys(("data_centre", "centre", "data_center", "hospital"), "North")}
    lines = [
        separator.join(
            values.get(column.strip("\ufeff").lower(), f"ct_scan_{number}") for column in header.split(separator)
        )
        for number in range(3)
    ]
    table(root, "train_covid.csv", *lines, header=header)
    assert rows_of(root)["covid1/ct_scan_1"] == ("train", "covid", "North")
    assert problems_of(root) == []


def test_a_table_without_the_columns_is_refused(tmp_path: Path) -> None:
    table(small(tmp_path), "train_covid.csv", "a,b", header="ct_scan_name,age")
    with pytest.raises(DatasetError, match=r"train_covid\.csv must have the columns ct_scan_name, data_centre; data_"):
        scan_table.build(tmp_path, seed=0)


def test_scans_of_one_name_in_two_folders_get_no_centre_from_a_name(tmp_path: Path) -> None:
    root = small(tmp_path)
    scan(root, "covid2/ct_scan_0")
    rows = rows_of(root)
    assert (rows["covid1/ct_scan_0"][2], rows["covid2/ct_scan_0"][2], rows["covid1/ct_scan_1"][2]) == ("", "", "1")
    assert "train_covid.csv: 1 row (line 2 'ct_scan_0') of several scans of one name" in problems_of(root)[0]


def test_missing_tables_are_named_and_the_scans_have_their_labels(tmp_path: Path) -> None:
    root = small(tmp_path)
    (root / "train_non_covid.csv").unlink()
    (root / "validation_covid.csv").unlink()
    rows = rows_of(root)
    assert rows["non-covid1/ct_scan_1"] == ("train", "non-covid", "")
    assert rows["covid1/ct_scan_1"] == ("train", "covid", "1")
    assert problems_of(root) == [
        "train_non_covid.csv and validation_covid.csv (ct_scan_name,data_centre) are missing: the centres of these "
        "scans are not known"
    ]


def test_folders_that_are_no_class_are_named_with_their_scans(tmp_path: Path) -> None:
    root = small(tmp_path)
    scan(root, "extra/a", "extra/b", "Validation/val/unknown/c")
    scan(root, "runs/one/a", "masks/a")
    (root / "notes").mkdir()
    assert problems_of(root) == [
        "Validation/val/unknown is in no folder covid or non-covid: its scan is left out",
        "extra is in no folder covid or non-covid: its 2 scans are left out",
    ]


def test_cov19_ct_db_stays_what_it_is(tmp_path: Path) -> None:
    scan(tmp_path, "train/covid/ct_scan_0", "train/non-covid/ct_scan_0", "validation/covid/ct_scan_0")
    scan(tmp_path, "task1/subset1/test_ct_scan_1")
    layout = layout_of(tmp_path)
    assert layout is not None
    assert layout.name == "COV19-CT-DB"
    table(tmp_path, "train_covid.csv", "ct_scan_0,1")  # with PHAROS's tables it is PHAROS's
    assert rows_of(tmp_path)["train/covid/ct_scan_0"] == ("train", "covid", "1")
    write_severities(tmp_path, "train", [("ct_scan_0", 2)])  # with the severities it is COV19-CT-DB
    assert rows_of(tmp_path)["train/covid/ct_scan_0"] == ("train", "moderate", "")


def test_a_corrected_centre_makes_the_table_stale_and_an_edited_one_does_not(tmp_path: Path) -> None:
    root = small(tmp_path)
    built = scan_table.build(root, seed=0)
    file = root / "scans.csv"
    scan_table.save(built.table, file, built.origin)
    assert stale_sentence(root, file, scan_table.load(file)) is None
    table(root, "train_covid.csv", "ct_scan_0,0", "ct_scan_1,2", "ct_scan_2,3")
    found = stale_sentence(root, file, scan_table.load(file)) or ""
    assert "1 scan of another centre (covid1/ct_scan_1: 1, now 2). Make it again" in found
    after = scan_table.build(root, seed=0).table
    assert compare_tables(built.table, after) == (
        "0 of 8 scans moved to another fold, 1 scan of another centre (covid1/ct_scan_1: 1, now 2)"
    )
    edited = scan_table.load(file).assign(centre=lambda rows: rows["centre"].where(rows["centre"] != "1", "2"))
    edited.to_csv(file, index=False)
    assert stale_sentence(root, file, scan_table.load(file)) is None
    for name in ("train_covid.csv", "train_non_covid.csv"):
        (root / name).unlink()
    assert stale_sentence(root, file, scan_table.load(file)) is None
