"""Evaluation of finished runs: the training run's numbers again, and everything beside them."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from omegaconf import DictConfig
from sklearn import metrics as sk

from lfw_seq.cli import UsageError
from lfw_seq.data.faces import Faces
from lfw_seq.evaluate import evaluate
from lfw_seq.evaluation import sections, text
from lfw_seq.evaluation.metrics import stage_metrics
from lfw_seq.evaluation.predictions import FACES, OTHER, OWN, Predictions, collect
from lfw_seq.evaluation.scorecard import halves, is_reproduced, scorecard
from lfw_seq.evaluation.strangers import STATE, OpenSetScores, PeopleStates, last_states, people_states
from lfw_seq.predict import predict
from lfw_seq.runs import record
from lfw_seq.runs.checkpoint import load_run
from lfw_seq.train import train

from .conftest import ANY_NET, SMALL, Compose, Trained, composed, save_face, table
from .test_lfw import draw_lfw

Ask = Callable[..., DictConfig]
PICTURES = ("confusion", "per_person", "cmc", "det", "reliability", "steps")
TABLES = ("predictions", "people", "confusion", "cmc", "det", "reliability", "steps")
FILES = {"evaluation.json", "report.html", *(f"{n}.png" for n in PICTURES), *(f"{n}.csv" for n in TABLES)}


@pytest.fixture
def asked(run: Path, tmp_path: Path) -> Ask:
    """Compose conf/evaluate.yaml for the shared run and a folder of the test's own."""

    def ask(*overrides: str, of: Path = run) -> DictConfig:
        return composed("evaluate", f"run='{of}'", f"out='{tmp_path / 'out'}'", *overrides)

    return ask


@pytest.fixture(scope="module")
def evaluated(run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """The evaluation of the shared run, with its pictures, and the folder it is in."""
    out = tmp_path_factory.mktemp("evaluated")
    return evaluate(composed("evaluate", f"run='{run}'", f"out='{out}'")), out


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make figures, but not their pixels, which take two thirds of an evaluation."""
    monkeypatch.setattr(Figure, "savefig", lambda *args, **kwargs: None)


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """The shared run, to be changed."""
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


def drawn(probabilities: list[list[float]], truth: list[int], **more: Any) -> Predictions:
    scores = np.array(probabilities, dtype=np.float32)
    names = tuple(f"P{index}" for index in range(scores.shape[1]))
    files = tuple(f"x/{index}" for index in range(len(truth)))
    found: dict[str, Any] = {"folder": Path("r"), "result": {}, "kind": OTHER, "source": "drawn"}
    found |= {"names": names, "files": files}
    return Predictions(**found | more, truth=np.array(truth), logits=np.log(scores), probabilities=scores)


def test_the_training_runs_metrics_come_out_to_the_last_digit(
    run: Path, evaluated: tuple[dict[str, Any], Path]
) -> None:
    result, out = evaluated
    trained = json.loads((run / "result.json").read_bytes())["metrics"]
    measured = {name for name in trained if name.startswith(("val/", "test/"))}
    assert {f"{stage}/{name}" for stage in ("val", "test") for name in ("loss", "accuracy", "macro_f1")} < measured
    assert {name: result["metrics"][name] for name in measured} == {name: trained[name] for name in measured}
    assert result["reproduced"] is True
    assert result["accuracy"]["value"] == pytest.approx(trained["test/accuracy"])
    assert result["majority"]["rate"] == trained["majority_rate"]
    assert result["predicted_people"] == trained["predicted_classes"]
    assert result["calibration"]["nll"] == pytest.approx(trained["test/loss"])
    assert (out / "predictions.csv").read_bytes() == (run / "predictions.csv").read_bytes()
    assert {path.name for path in out.iterdir()} == FILES
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in out.glob("*.png"))
    assert "  Fewer than two strangers among these images: the open set is not measured." in result["lines"]
    assert "accuracy" in result["lines"][1]
    assert "majority rate" in result["lines"][2]


@pytest.mark.parametrize(
    "change",
    [
        "data.order=columns data.standardize=pixel test_mirror=true",
        "data.fold=1 model=gru",
        "data.standardize=image average_decay=0.9 augment=faces",
        "data.pixel_guard=false data.pixel_scale=0.00392156862745098",
        "model=row_conv",
        "data.val_from=none callbacks.early_stopping=null callbacks.plateau=null callbacks.best.monitor=step "
        "callbacks.best.mode=max",
        *(f"trainer.precision={precision}" for precision in ("bf16-mixed", "bf16-true", "16-true", "64-true")),
    ],
)
def test_other_runs_come_out_too(config: Compose, asked: Ask, tmp_path: Path, change: str) -> None:
    train(config(*(ANY_NET if "row_conv" in change else SMALL), "trainer.max_epochs=1", *change.split()))
    found = collect(asked(of=tmp_path / "run"))
    assert is_reproduced(found) is True
    assert len(found.by_step) == min(25, max(found.by_step))
    if "precision" not in change:  # elsewhere the last bits may turn a prediction
        assert list(found.by_step.values())[-1] == pytest.approx(found.metrics["test/accuracy"], abs=1e-6)


def test_numbers_agree_with_scikit_learn(run: Path, evaluated: tuple[dict[str, Any], Path]) -> None:
    result, out = evaluated
    files, truth, rows, names = record.read_predictions(run / "predictions.csv")
    scores = np.array(rows)
    predicted = scores.argmax(axis=1)
    expected = sk.classification_report(truth, predicted, target_names=names, output_dict=True, zero_division=0)
    for person, row in enumerate(result["people"]):
        for mine, theirs in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score"), ("support",) * 2):
            assert row[mine] == pytest.approx(expected[row["name"]][theirs], abs=1e-9)
        assert row["auc"] == pytest.approx(sk.roc_auc_score(np.array(truth) == person, scores[:, person]), abs=1e-9)
        assert row["predicted"] == (predicted == person).sum()
    for group, name in (("macro", "macro avg"), ("weighted", "weighted avg")):
        for mine, theirs in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
            assert result[group][mine] == pytest.approx(expected[name][theirs], abs=1e-9)
    balanced = sk.balanced_accuracy_score(truth, predicted)
    assert result["balanced_accuracy"]["value"] == pytest.approx(balanced, abs=1e-9)
    matrix = [list(map(int, list(row.values())[1:])) for row in table(out / "confusion.csv")]
    assert matrix == sk.confusion_matrix(truth, predicted, labels=range(7)).tolist()
    assert [float(row["share"]) for row in table(out / "cmc.csv")] == result["cmc"]
    assert len(files) == sum(int(row["images"]) for row in table(out / "reliability.csv"))


def test_a_person_without_an_image_has_no_recall_and_no_auc() -> None:
    card = scorecard(drawn([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.2, 0.5, 0.3]], [0, 1, 0]))
    missing = card["people"][2]
    assert missing["support"] == missing["predicted"] == 0
    assert np.isnan([missing["precision"], missing["recall"], missing["f1"], missing["auc"]]).all()
    assert card["macro"]["recall"] == pytest.approx(0.75)
    assert card["macro"]["auc"] == pytest.approx((0.5 + 1) / 2)  # P0: .7 and .2 against .3; P1: .6 against .2 and .5
    assert card["balanced_accuracy"]["value"] == pytest.approx(0.75)
    scores, truth = np.array([[0.1, 0.1, 0.8]] + [[0.8, 0.1, 0.1]] * 2 + [[0.1, 0.8, 0.1]] * 3), [0] * 3 + [1] * 3
    card = scorecard(drawn(scores.tolist(), truth))  # one is predicted
    measured = stage_metrics("test", torch.from_numpy(np.log(scores)), torch.tensor(truth), "abc")
    assert card["people"][2]["f1"] == card["people"][2]["precision"] == 0
    for value, name in ((card["macro"]["f1"], "macro_f1"), (card["macro"]["precision"], "macro_precision")):
        assert value == pytest.approx(measured[f"test/{name}"])
    assert card["balanced_accuracy"]["value"] == pytest.approx(measured["test/balanced_accuracy"])
    assert card["balanced_accuracy"]["value"] == pytest.approx(sk.balanced_accuracy_score(truth, scores.argmax(axis=1)))


def test_a_model_that_predicts_one_person_is_called_that() -> None:
    given = drawn([[0.6, 0.4]] * 4, [0, 0, 0, 1])
    card = scorecard(given) | {"reproduced": None}
    found = text.sentences([text.Evaluated("", given, card)])
    assert "P0 is predicted for every image: the accuracy is that person's share, not skill." in found
    assert card["majority"] == {"name": "P0", "rate": 0.75, "lift": 1.0}


def test_two_runs_are_drawn_each_with_its_own_order_of_images() -> None:
    scores, truth = [[0.7, 0.3], [0.4, 0.6], [0.2, 0.8], [0.9, 0.1]], [0, 1, 0, 0]
    orders = {"one": drawn(scores, truth), "other": drawn(scores[::-1], truth[::-1])}
    runs = [text.Evaluated(name, predictions, scorecard(predictions)) for name, predictions in orders.items()]
    alt = sections.draw(runs)["reliability"].alt
    errors = dict(re.findall(r"(one|other), ECE (\d\.\d+)", alt))
    assert errors["one"] == errors["other"] != "0.000"


def test_the_majority_is_the_most_frequent_person_of_training() -> None:
    """On a tie among all images, the class order alone would choose another."""
    result = {"data": {"counts": {"train": [4, 6], "val": [0, 0], "test": [3, 2]}}}
    card = scorecard(drawn([[0.6, 0.4]] * 5, [0, 0, 0, 1, 1], result=result))
    assert (card["majority"]["name"], card["majority"]["rate"]) == ("P1", 0.4)


def test_the_open_set_threshold_comes_from_one_half_of_the_strangers() -> None:
    files = tuple(f"{name}/{index}" for name in "abcd" for index in range(5))
    assert halves(files).tolist() == [True] * 5 + [False] * 5 + [True] * 5 + [False] * 5
    best = np.array([0.6] * 5 + [0.8] * 5 + [0.7] * 5 + [0.55] * 5)
    scores = {"probability": OpenSetScores(np.array([0.9, 0.65, 0.8]), best)}
    known = [[0.9, 0.1], [0.65, 0.35], [0.2, 0.8]]
    card = scorecard(drawn(known, [0, 0, 0], strangers=files, open_set_scores=scores))
    point = card["open_set"]["points"][2]
    assert point["threshold"] == np.nextafter(0.7, 1)  # none of ten may pass
    assert point["fpir"] == 0.5  # but the other half's five at .8 do
    assert point["fnir"] == pytest.approx(2 / 3)  # below it, and somebody else
    assert point["turned_away"] == pytest.approx(1 / 3)
    assert (card["open_set"]["set_on"], card["open_set"]["reported_on"]) == (10, 10)


def test_strangers_of_lfw_are_the_people_under_the_threshold(tmp_path: Path, config: Compose, asked: Ask) -> None:
    draw_lfw(tmp_path, 10, 9, 1, 1, 1)
    root = tmp_path / "lfw_home" / "lfw_funneled"
    data = [f"data.data_home={tmp_path}", "data.download=false", "data.min_faces_per_person=5", "data.val_size=0.3"]
    train(config(*SMALL[2:], *data, "data.test_size=0.3"))
    got = collect(asked(of=tmp_path / "run"))
    assert sorted(file.split("/")[0] for file in got.strangers) == ["Cy", "Di", "Ed"]
    out = tmp_path / "run" / "evaluation"
    card = evaluate(asked(f"out='{out}'", of=tmp_path / "run"))["open_set"]
    assert card["strangers"] == 3
    assert [point["score"] for point in card["points"]] == [STATE] * 3 + ["probability"] * 3  # the better first
    assert {"open_set.png", "open_set.csv", "states.npz"} < {path.name for path in out.iterdir()}
    for score, points in ((None, card["points"][:3]), ("probability", card["points"][3:])):
        words = [f"run='{tmp_path / 'run'}'", f"images='{root}'", "fpir=0.1", f"score={score or 'null'}"]
        found = predict(composed("predict", *words))["predictions"]
        unknown = {prediction["file"]: prediction["predicted"] == "unknown" for prediction in found}
        share = np.mean([unknown[str(root / file)] for file in got.files])
        assert share == pytest.approx(points[2]["turned_away"])  # predict does what evaluate measured


def test_a_state_is_what_the_last_layer_reads(run: Path) -> None:
    back = load_run(run)
    rows = torch.rand(5, *back.shape)
    states = last_states(back, rows)
    head: torch.nn.Module = back.predictor.net.head  # type: ignore[assignment]
    assert torch.allclose(head(torch.from_numpy(states).float()), back.logits(rows), atol=1e-5)
    people = PeopleStates(np.array([[3.0, 0.0], [0.0, 3.0]]), np.diag([1.0, 4.0]))
    assert people.scores(np.array([[3.0, 0.0], [3.0, 1.0], [1.0, 3.0]])).tolist() == [0, -4, -1]
    ids = torch.arange(60).numpy() % 7
    found = people_states(back, torch.rand(60, *back.shape), ids)
    assert found is not None
    assert (found.means.shape, found.precision.shape) == ((7, 8), (8, 8))
    assert np.linalg.eigvalsh(found.precision).min() > 0


def test_a_folder_of_faces_with_strangers(copy: Path, asked: Ask, tmp_path: Path) -> None:
    folder = tmp_path / "лица с местом"
    for tone in range(21):
        save_face(folder / f"Person_{tone % 7 + 1}" / f"{tone}.png", tone)
    for number in range(4):
        save_face(tmp_path / "strangers" / f"Stranger_{number}" / "0.png", number + 21)
    shutil.copytree(tmp_path / "strangers", folder, dirs_exist_ok=True)
    evaluate(asked("out=null", of=copy))
    before = {path: path.read_bytes() for path in (copy / OWN).iterdir()}
    result = evaluate(asked(f"faces='{folder}'", "out=null", of=copy))
    assert result["images"] == 21
    assert result["reproduced"] is None
    assert result["calibration"]["temperature"] is None
    assert result["open_set"]["strangers"] == 4
    assert (copy / FACES / "open_set.csv").is_file()
    assert before == {path: path.read_bytes() for path in (copy / OWN).iterdir()}  # predict's threshold is still there
    with pytest.raises(UsageError, match="no folder of a person of the run"):
        evaluate(asked(f"faces={tmp_path / 'strangers'}"))


def test_another_split_or_source_is_named(asked: Ask, copy: Path) -> None:
    result = evaluate(asked("split_seed=7", "out=null", of=copy))
    assert result["reproduced"] is None
    assert re.search(r"\d+ of these 28 images were used in training, by file name: .* too good", result["notes"][0])
    assert [path.name for path in copy.glob("evaluation*")] == [OTHER]
    assert result["calibration"]["temperature"] is None
    assert result["notes"][1:] == ("Validation images of this split may have been trained on: not calibrated.",)
    other = evaluate(asked("data=synthetic", "data.seed=5", "data.num_images=140"))
    assert "seed 5" in other["source"]
    with pytest.raises(UsageError, match=r"data\.root: the run's source has no such key"):
        evaluate(asked("data.root=x"))
    with pytest.raises(UsageError, match=r"data: Person 1, .*; expected the run's Person 1"):
        evaluate(asked("data=synthetic", "data.num_people=3", "data.num_images=140"))


def test_a_run_that_was_never_tested_is_not_reproduced(config: Compose, asked: Ask, tmp_path: Path) -> None:
    train(config(*SMALL, "trainer.max_epochs=1", "test=false", "data.fold=2"))
    result = evaluate(asked(of=tmp_path / "run"))
    assert result["reproduced"] is None
    assert "seed=0 split_seed=42 data.fold=2" in (tmp_path / "out" / "report.html").read_text()


def test_photos_that_changed_since_the_training_are_named(asked: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Faces, "fingerprint", "another")
    note, _ = evaluate(asked())["notes"]
    assert note.startswith("The photos have changed since the run was trained")


def test_two_runs_compared(run: Path, trained: Trained, asked: Ask, tmp_path: Path) -> None:
    against = trained("seed=5", "trainer.max_epochs=4")
    result = evaluate(asked(f"against={against}"))
    pair = result["comparison"]
    assert pair["only_run"] + pair["only_against"] + pair["both"] + pair["neither"] == 28
    assert result["lines"][1].split() == ["this", "run", "the", "other", "run"]
    assert result["lines"][2].split()[0] == "accuracy"
    rows = table(tmp_path / "out" / "comparison.csv")
    first, second = ({row["file"]: row for row in table(folder / "predictions.csv")} for folder in (run, against))
    assert {row["file"] for row in rows} == {f for f in first if first[f]["predicted"] != second[f]["predicted"]}
    assert sum(row["right"] == "run" for row in rows) == pair["only_run"]
    assert (tmp_path / "out" / "confusion_against.png").is_file()
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<img ") == len(PICTURES) + 3  # both confusions, both curves of each person, one learning curve
    assert all(f"{title} ({run})" in page for title in ("Confusion", "others") for run in ("this run", "the other run"))
    assert f"against {pair['accuracy'][1]['value']:.3f} [" in page  # both with their interval
    elsewhere, drawn_anew = trained("split_seed=7"), trained("data.seed=1")
    with pytest.raises(UsageError, match="tested on other images"):
        evaluate(asked(f"against={elsewhere}"))
    (own, other) = (
        evaluate(asked(f"against={to}", *words))["lines"]
        for to, words in ((drawn_anew, ()), (elsewhere, ("split_seed=42",)))
    )
    assert "  Images of these runs are compared by file name: synthetic faces (seed 0), 28 test images and" in own[-3]
    assert any(re.match(r"  the other run: \d+ of these 28 images were used in training", line) for line in other)


def test_a_run_without_a_checkpoint_has_its_predictions(
    run: Path, asked: Ask, tmp_path: Path, evaluated: tuple[dict[str, Any], Path]
) -> None:
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    result, whole = evaluate(asked(of=tmp_path / "run")), evaluated[0]
    for key in ("people", "verification", "accuracy", "majority", "cmc"):
        assert result[key] == whole[key]
    assert result["calibration"]["nll"] == pytest.approx(whole["calibration"]["nll"])
    with pytest.raises(UsageError, match="no checkpoint in it"):
        evaluate(asked("split_seed=3", of=tmp_path / "run"))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("predictions.csv", "file,true,predicted,Person 1,Person 2\na,Person 1,Person 1,0.5\n"),
        ("predictions.csv", "file,true,predicted,Person 1,Person 2\na,Person 1,Person 1,nan,3\n"),
        ("predictions.csv", "file,true,predicted,Person 1,Person 2\n"),
        ("result.json", "[]"),
        ("result.json", '{"status": "complete"}'),
        ("result.json", '{"status": "complete", "data": {"counts": 3}}'),
        ("result.json", '{"status": "complete", "data": {"counts": {"train": [1]}}, "metrics": 5}'),
        ("metrics.csv", "nothing"),
        (".hydra/overrides.yaml", "{["),
    ],
)
def test_a_damaged_file_is_named_in_one_line(copy: Path, asked: Ask, file: str, content: str) -> None:
    if file == "predictions.csv":
        shutil.rmtree(copy / "checkpoints")
    (copy / file).parent.mkdir(exist_ok=True)
    (copy / file).write_text(content)
    with pytest.raises(UsageError, match=re.escape(file)):
        evaluate(asked(of=copy))


def test_the_page_begins_with_how_the_run_was_made(run: Path, copy: Path, asked: Ask, tmp_path: Path) -> None:
    (copy / ".hydra").mkdir(exist_ok=True)
    (copy / ".hydra" / "overrides.yaml").write_text("- model=lstm\n- run_dir=${oc.env:HOME}\n- 'data.root=a b'\n")
    evaluate(asked(of=copy))
    page = (tmp_path / "out" / "report.html").read_text()
    result = json.loads((run / "result.json").read_text())
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page))
    typed = "model=lstm &#39;run_dir=${oc.env:HOME}&#39; &#39;data.root=a b&#39;"
    assert facts["command"] == f"python -m lfw_seq.train {typed}"
    assert facts["best epoch"] == f"{result['best_epoch']} of {result['epochs']}"
    assert result["data"]["fingerprint"] in facts["data"]
    assert facts["seed and split"] == "seed=0 split_seed=42"
    assert result["device"] in facts["trained on"]
    assert 'alt="loss: train/loss' in page
    assert facts["model"].startswith(f"{result['model']['name']}, ")
    for word in ("false match rate", "false non-match rate", "cumulative match characteristic", "majority rate"):
        assert word in page


def test_no_photo_unasked_and_no_formula_in_a_csv(
    run: Path, asked: Ask, tmp_path: Path, evaluated: tuple[dict[str, Any], Path]
) -> None:
    page = (evaluated[1] / "report.html").read_text()
    assert not re.search(r"https?://|<script|<link", page)
    assert page.count("<img ") == len(PICTURES) + 1  # the learning curve
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    evaluate(asked("photos=true"))
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<img ") == len(PICTURES) + 2
    assert re.search(r'alt="Most confident mistakes: true Person \d 0\.\d+ predicted Person \d', page)
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints", "result.json"))
    table = (run / "predictions.csv").read_text().replace("Person 1", "=1+1").replace("Person 2", "<b>\x1b[31m")
    (tmp_path / "run" / "predictions.csv").write_text(table)
    result = evaluate(asked(of=tmp_path / "run"))
    assert [person["name"] for person in result["people"]][:2] == ["=1+1", "<b>\x1b[31m"]
    for path in (tmp_path / "out").glob("*.csv"):
        assert not re.search(r"(^|,)=", path.read_text(), flags=re.MULTILINE), path
    assert record.read_predictions(tmp_path / "out" / "predictions.csv")[3][0] == "=1+1"
    assert "<b>" not in (tmp_path / "out" / "report.html").read_text()


def test_mistakes_are_the_surest_first() -> None:
    given = drawn([[0.6, 0.4], [0.1, 0.9], [0.8, 0.2], [0.1, 0.9]], [0, 0, 1, 0])
    section = sections.mistakes(given, 2, photos=True)
    rows = section.tables[0].cells.to_numpy().tolist()
    assert [row[-1] for row in rows] == ["x/1", "x/3"]
    assert rows[0] == ["P0", "0.100", "P1", "0.900", "x/1"]
    assert not section.figures
    assert sections.mistakes(replace(given, truth=np.array([0, 1, 0, 1])), 2, photos=True).sentences == ["None."]
