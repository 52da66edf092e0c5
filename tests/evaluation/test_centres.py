"""Scores by centre."""

from pathlib import Path

import pandas as pd
import pytest

from cov3d.errors import PredictionsError
from cov3d.evaluation.centres import check_sources, evaluate_centres, load_sources, save_centres
from cov3d.evaluation.scores import evaluate
from cov3d.labels import CATEGORIES
from tests.reports.predictions import predictions


def test_each_centre_is_scored_by_its_own_scans(tmp_path: Path) -> None:
    table = predictions()
    sources = {scan: "north" if number % 2 else "south" for number, scan in enumerate(table["scan"]) if number > 9}
    found = evaluate_centres({"presence": table, "severity": table}, CATEGORIES, sources | {"another": "west"}, seed=2)
    assert list(found) == ["north", "south", "unknown"]
    alone = evaluate(table[table["scan"].map(sources) == "north"], CATEGORIES, seed=2)
    assert found["north"]["presence"].scores == alone["presence"].scores
    assert [found[centre]["presence"].result.scans for centre in found] == [87, 88, 10]
    save_centres(found, tmp_path / "centres.csv")
    rows = pd.read_csv(tmp_path / "centres.csv", keep_default_na=False)
    macro = rows[(rows["source"] == "north") & (rows["task"] == "presence") & (rows["score"] == "macro F1")]
    assert macro["value"].astype(float).tolist() == [alone["presence"].scores[0].value]
    assert set(rows["score"]) == {"macro F1", "F1"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "scan,hospital\na,b\n",
            "must have the columns scan,source \\(the name and the centre of a scan\\), not scan,hospital",
        ),
        ("scan,source\na,b\na,c\n", "names the scan a more than once"),
        ("scan,source\na,\n", "has no source for a"),
    ],
)
def test_a_table_of_sources_that_is_wrong_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "sources.csv").write_text(text)
    with pytest.raises(PredictionsError, match=sentence):
        load_sources(tmp_path / "sources.csv")
    with pytest.raises(PredictionsError, match="there is no table of sources"):
        load_sources(tmp_path / "none.csv")


def test_sources_of_other_scans_are_refused() -> None:
    with pytest.raises(PredictionsError, match="has none of the scans, such as scan 0"):
        check_sources(["scan 0", "scan 1"], {"a": "b"})
    check_sources(["scan 0", "a"], {"a": "b"})
