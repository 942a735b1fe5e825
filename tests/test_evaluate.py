"""Evaluation of finished runs: the training run's numbers again, and everything beside them."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from PIL import Image
from sklearn import metrics as sk

from lfw_seq import evaluation_page, record
from lfw_seq.answers import Answers, ask
from lfw_seq.command import CONF, quoted
from lfw_seq.data.synthetic import Synthetic
from lfw_seq.errors import UsageError
from lfw_seq.evaluate import evaluate, reproduced
from lfw_seq.evaluation_text import closing_lines, sentences
from lfw_seq.scorecard import halves, scorecard
from lfw_seq.train import train

from .conftest import SMALL, Compose, command, save_face
from .test_lfw import draw_lfw

Ask = Callable[..., DictConfig]
FILES = {
    "cmc.csv",
    "cmc.png",
    "confusion.csv",
    "confusion.png",
    "confusion_by_row.png",
    "det.csv",
    "steps.csv",
    "steps.png",
    "det.png",
    "evaluation.json",
    "people.csv",
    "precision_recall.png",
    "predictions.csv",
    "reliability.csv",
    "reliability.png",
    "report.html",
    "roc.png",
}


@pytest.fixture
def asked(run: Path, tmp_path: Path) -> Ask:
    """Compose conf/evaluate.yaml for the shared run and a folder of the test's own."""

    def composed(*overrides: str, of: Path = run) -> DictConfig:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("evaluate", [f"run={of}", f"out={tmp_path / 'out'}", *overrides])

    return composed


def answers(probabilities: list[list[float]], truth: list[int], **more: Any) -> Answers:
    scores = np.array(probabilities, dtype=np.float32)
    names = tuple(f"P{index}" for index in range(scores.shape[1]))
    files = tuple(f"x/{index}" for index in range(len(truth)))
    return Answers(Path("r"), "drawn", names, files, np.array(truth), scores, False, {}, **more)


def people_folder(root: Path, strangers: int = 4) -> Path:
    """Drawn faces of the people the shared run knows, as files, and some of nobody it knows."""
    faces = Synthetic(num_people=7, num_images=21, height=50, width=37, seed=0).load()
    for index, (image, label) in enumerate(zip(faces.images, faces.labels, strict=True)):
        path = root / faces.names[label].replace(" ", "_") / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 255).round().astype(np.uint8)).save(path)
    for index in range(strangers):
        save_face(root / f"Stranger_{index}" / "0.png", index + 1)
    return root


def test_the_training_runs_metrics_come_out_to_the_last_digit(run: Path, asked: Ask, tmp_path: Path) -> None:
    before = (run / "result.json").read_bytes(), {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    result = evaluate(asked())
    trained = json.loads(before[0])["metrics"]
    measured = {name for name in trained if name.startswith(("val/", "test/"))}
    assert len(measured) == 18
    assert {name: result["metrics"][name] for name in measured} == {name: trained[name] for name in measured}
    assert result["reproduced"] is True
    assert result["accuracy"]["value"] == pytest.approx(trained["test/accuracy"])
    assert result["majority"]["rate"] == trained["majority_rate"]
    assert result["predicted_people"] == trained["predicted_classes"]
    assert (tmp_path / "out" / "predictions.csv").read_bytes() == (run / "predictions.csv").read_bytes()
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    assert before[1] == {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert "no strangers in this source" in "\n".join(closing_lines(result))


@pytest.mark.parametrize(
    "change",
    [
        "data.order=columns data.standardize=pixel test_mirror=true",
        "data.fold=1 model=gru",
        "trainer.precision=bf16-mixed",
        "data.standardize=image callbacks=average augment=faces",
        "data.pixel_guard=false data.pixel_scale=0.00392156862745098",
        "model=row_conv",
        "data.val_from=none callbacks=default look.every_n_epochs=1 look.time_share=1 callbacks.early_stopping=null "
        "callbacks.plateau=null callbacks.best.monitor=step callbacks.best.mode=max",
    ],
)
def test_other_runs_come_out_too(config: Compose, asked: Ask, tmp_path: Path, change: str) -> None:
    words = [word for word in SMALL if "hidden_size" not in word or "model=row_conv" not in change]
    train(config(*words, "trainer.max_epochs=1", *change.split()))
    answers = ask(asked(of=tmp_path / "run"), str(tmp_path / "run"))
    assert reproduced(answers) is True
    assert len(answers.by_step) == min(25, max(answers.by_step))
    if "precision" not in change:  # in full precision the last bits may turn an answer
        assert list(answers.by_step.values())[-1] == pytest.approx(answers.metrics["test/accuracy"], abs=1e-6)


def test_numbers_agree_with_scikit_learn(run: Path, asked: Ask, tmp_path: Path) -> None:
    result = evaluate(asked())
    files, truth, rows, names = record.read_predictions(run / "predictions.csv")
    scores = np.array(rows)
    predicted = scores.argmax(axis=1)
    table = sk.classification_report(truth, predicted, target_names=names, output_dict=True, zero_division=0)
    for person, row in enumerate(result["people"]):
        for mine, theirs in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score"), ("support",) * 2):
            assert row[mine] == pytest.approx(table[row["name"]][theirs], abs=1e-9)
        area = sk.roc_auc_score(np.array(truth) == person, scores[:, person])
        assert row["auc"] == pytest.approx(area, abs=1e-9)
    for group, name in (("macro", "macro avg"), ("weighted", "weighted avg")):
        for mine, theirs in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
            assert result[group][mine] == pytest.approx(table[name][theirs], abs=1e-9)
    balanced = sk.balanced_accuracy_score(truth, predicted)
    assert result["balanced_accuracy"]["value"] == pytest.approx(balanced, abs=1e-9)
    with (tmp_path / "out" / "confusion.csv").open() as file:
        matrix = [list(map(int, row[1:])) for row in list(csv.reader(file))[1:]]
    assert matrix == sk.confusion_matrix(truth, predicted, labels=range(7)).tolist()
    assert len(files) == sum(map(sum, matrix))


def test_a_person_without_an_image_has_no_recall_and_no_auc() -> None:
    card = scorecard(answers([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.2, 0.5, 0.3]], [0, 1, 0]))
    missing = card["people"][2]
    assert (missing["support"], missing["precision"]) == (0, 0.0)
    assert np.isnan([missing["recall"], missing["auc"]]).all()
    assert card["macro"]["recall"] == pytest.approx(0.75)
    assert card["macro"]["auc"] == pytest.approx((0.5 + 1) / 2)  # P0: .7 and .2 against .3; P1: .6 against .2 and .5
    assert card["balanced_accuracy"]["value"] == pytest.approx(0.75)


def test_a_model_with_one_answer_is_called_that() -> None:
    result = scorecard(answers([[0.6, 0.4]] * 4, [0, 0, 0, 1])) | {"reproduced": None}
    assert "Every image got the same answer, P0: 0.750 is that person's share, not skill." in sentences(result)
    assert result["majority"] == {"name": "P0", "rate": 0.75, "lift": 1.0}


def test_the_open_set_threshold_comes_from_one_half_of_the_strangers() -> None:
    files = tuple(f"{name}/{index}" for name in "abcd" for index in range(5))
    assert halves(files).tolist() == [True] * 5 + [False] * 5 + [True] * 5 + [False] * 5
    best = np.array([0.6] * 5 + [0.8] * 5 + [0.7] * 5 + [0.55] * 5)
    strangers = np.stack([best, 1 - best], axis=1).astype(np.float32)
    card = scorecard(answers([[0.9, 0.1], [0.65, 0.35], [0.2, 0.8]], [0, 0, 0], strangers=(files, strangers)))
    point = card["open_set"]["points"][2]
    assert point["threshold"] == pytest.approx(np.nextafter(np.float32(0.7), 1), abs=1e-6)  # none of ten may pass
    assert point["fpir"] == 0.5  # but the other half's five at .8 do
    assert point["fnir"] == pytest.approx(2 / 3)  # below it, and somebody else
    assert (card["open_set"]["set_on"], card["open_set"]["reported_on"]) == (10, 10)


def test_strangers_of_lfw_are_the_people_under_the_threshold(tmp_path: Path, config: Compose, asked: Ask) -> None:
    draw_lfw(tmp_path)
    root = tmp_path / "lfw_home" / "lfw_funneled"
    for person in ("Ann_Lee", "Bo"):
        for index in range(5, 12):
            save_face(root / person / f"{person}_{index:04d}.jpg", index + (9 if person == "Bo" else 0))
    for person in ("Di", "Ed"):
        save_face(root / person / f"{person}_0001.jpg", 30)
    data = [f"data.data_home={tmp_path}", "data.download=false", "data.min_faces_per_person=5", "data.val_size=0.3"]
    train(config(*SMALL[2:], *data, "data.test_size=0.3"))
    got = ask(asked(of=tmp_path / "run"), str(tmp_path / "run"))
    assert got.strangers is not None
    assert sorted(file.split("/")[0] for file in got.strangers[0]) == ["Cy", "Di", "Ed"]
    assert evaluate(asked(of=tmp_path / "run"))["open_set"]["strangers"] == 3
    assert (tmp_path / "out" / "open_set.png").is_file()


def test_a_folder_of_faces_with_strangers(run: Path, asked: Ask, tmp_path: Path) -> None:
    folder = people_folder(tmp_path / "лица с местом")
    result = evaluate(asked(f"faces='{folder}'"))
    assert result["images"] == 21
    assert result["reproduced"] is None
    assert result["calibration"]["temperature"] is None
    assert result["open_set"]["strangers"] == 4
    nobody = people_folder(tmp_path / "x")
    for person in list(nobody.iterdir()):
        if person.name.startswith("Person"):
            shutil.rmtree(person)
    with pytest.raises(UsageError, match="shows nobody the run knows"):
        evaluate(asked(f"faces={nobody}"))


def test_another_split_says_what_was_learned_from(asked: Ask) -> None:
    result = evaluate(asked("split_seed=7"))
    assert result["reproduced"] is None
    (note,) = result["notes"]
    assert re.search(r"\d+ of these 28 images .* the run learned from: too good", note)
    with pytest.raises(UsageError, match=r"data\.root: the run's source has no such key"):
        evaluate(asked("data.root=x"))


def test_another_source_is_named(asked: Ask) -> None:
    other = evaluate(asked("data=synthetic", "data.seed=5", "data.num_images=140"))
    assert "seed 5" in other["source"]
    with pytest.raises(UsageError, match=r"show Person 1, .*; the run reads"):
        evaluate(asked("data=synthetic", "data.num_people=3", "data.num_images=140"))


@pytest.mark.slow
def test_two_runs_compared(run: Path, config: Compose, asked: Ask, tmp_path: Path) -> None:
    train(config(*SMALL, "seed=5", "trainer.max_epochs=4"))
    result = evaluate(asked(f"against={tmp_path / 'run'}"))
    pair = result["comparison"]
    assert pair["only_run"] + pair["only_against"] + pair["both"] + pair["neither"] == 28
    rows = list(csv.DictReader((tmp_path / "out" / "comparison.csv").open()))
    first, second = ({row["file"]: row for row in read(folder)} for folder in (run, tmp_path / "run"))
    assert {row["file"] for row in rows} == {f for f in first if first[f]["predicted"] != second[f]["predicted"]}
    assert sum(row["right"] == "run" for row in rows) == pair["only_run"]
    train(config(*SMALL, "split_seed=1", "trainer.max_epochs=1", f"run_dir={tmp_path / 'other'}"))
    with pytest.raises(UsageError, match="tested on other images"):
        evaluate(asked(f"against={tmp_path / 'other'}"))


def read(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_run_without_a_checkpoint_has_its_predictions(run: Path, asked: Ask, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    result, whole = evaluate(asked(of=tmp_path / "run")), evaluate(asked())
    assert result["people"] == whole["people"]
    assert result["verification"] == whole["verification"]
    with pytest.raises(UsageError, match="no checkpoint in it"):
        evaluate(asked("split_seed=3", of=tmp_path / "run"))


@pytest.mark.slow
def test_the_page_needs_nothing_and_shows_no_photo_unasked(asked: Ask, tmp_path: Path) -> None:
    evaluate(asked())
    text = (tmp_path / "out" / "report.html").read_text()
    assert not re.search(r"https?://|<script|<link", text)
    assert text.count("<img ") == 8
    evaluate(asked("photos=true"))
    assert (tmp_path / "out" / "report.html").read_text().count("<img ") == 9


def test_mistakes_are_the_surest_first() -> None:
    given = answers([[0.6, 0.4], [0.1, 0.9], [0.8, 0.2], [0.3, 0.7]], [0, 0, 1, 0])
    assert evaluation_page.mistakes(given, 2) == [1, 2]
    assert evaluation_page.mistakes(replace(given, truth=np.array([0, 1, 0, 1])), 2) == []


def test_a_config_in_a_checkpoint_builds_no_other_source(run: Path, asked: Ask, tmp_path: Path) -> None:
    import torch

    shutil.copytree(run, tmp_path / "run")
    path = tmp_path / "run" / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    for key, value in (
        ("_target_", "os.system"),
        ("_target_", "lfw_seq.data.lfw.np.load"),
        ("seed", {"_target_": "os.system"}),
        ("seed", "${oc.env:HOME}"),
        ("_args_", ["x"]),
    ):
        changed = checkpoint["lfw_seq"]["config"]["data"] | {key: value}
        card = checkpoint["lfw_seq"] | {"config": checkpoint["lfw_seq"]["config"] | {"data": changed}}
        torch.save(checkpoint | {"lfw_seq": card}, path)
        with pytest.raises(UsageError, match="refused"):
            evaluate(asked(of=tmp_path / "run"))


def test_paths_reach_hydra_whole() -> None:
    assert quoted("run=/a b/é(1), c") == "run=/a b/é(1), c"  # a sweep's list, unless there is such a path
    assert quoted("run=/a b/é(1)") == "run='/a b/é(1)'"
    assert quoted("out=it's") == r"out='it\'s'"
    assert quoted("against=null") == "against=null"
    assert quoted("run='x'") == "run='x'"
    assert quoted("seed=1") == "seed=1"


@pytest.mark.slow
def test_the_command_from_anywhere(run: Path, tmp_path: Path) -> None:
    place = tmp_path / "ещё место (1)"
    shutil.copytree(run, place / "run")
    done = command("run=run", cwd=place, module="lfw_seq.evaluate")
    assert done.returncode == 0, done.stderr
    assert "The test metrics equal the training run's to the last digit." in done.stdout
    assert [path.name for path in place.iterdir()] == ["run"]
    assert {path.name for path in (place / "run" / "evaluation").iterdir()} == FILES
    missing = command(f"run={place / 'nowhere'}", cwd=place, module="lfw_seq.evaluate")  # leaves no trace
    assert missing.returncode == 2
    assert re.fullmatch(r"error: run=.*nowhere: no such folder; expected .*\n", missing.stderr)
    assert [path.name for path in place.iterdir()] == ["run"]
