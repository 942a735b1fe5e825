"""What a user gets wrong, over all commands: one line that names key, value and expectation, status 2, nothing left."""

# ruff: noqa: E501  # of the table
import gc
import os
import re
import shlex
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
from matplotlib.figure import Figure
from PIL import Image

from .conftest import invoke, save_face

DRAWN = "data=synthetic data.num_people=3 data.num_images=60 data.height=16 data.width=12"
TRAIN = f"{DRAWN} trainer=cpu trainer.max_epochs=1 callbacks=core logger=none"
START = {"train": TRAIN, "sweep": f"-m {TRAIN} hydra.sweep.dir=sweep", "baselines": DRAWN, "benchmark": TRAIN}
START |= {"evaluate": "run=run", "predict": "run=run images=faces", "export": "run=run", "report": "sweep=run"}
# The command, more words, and inputs: the line holds an input's last word and ": expected", or what follows "->".
TABLE = """
train                         | data.val_size=0 | data.val_size=1 | data.val_size=nan | data.val_size=abc | data.test_size=0
train                         | data.test_size=1.5 | data.test_size=null | data.train_size=0 | data.train_size=1.01
train                         | data.test_size=0.99 -> data.test_size=0.99 .* do not fit 60 images of 3 people
train                         | data.fold=9 | data.fold=true | data.fold=abc | data.num_folds=1 | data.val_from=tset
train                         | data.order=sideways | data.pixel_guard=abc | data.pixel_scale=inf | data.pixel_scale=abc
train                         | data.standardize=images | data.batch_size=99999999999999999999 | data.batch_size=0
train                         | data.pixel_scale=0 | data.pixel_scale=256 | data.batch_size=2147483648
train                         | data.batch_size={a:1} -> data.batch_size=.*: expected a whole number
train                         | data.batch_size=1.5 | data.eval_batch_size=0 | data.num_people=1 | data.num_images=2
train                         | data.num_images=abc | data.num_images=9000000000 -> data.num_images=9000000000: .* expected fewer
train                         | data.height=7 | data.height=abc | data.width=2000 | data.seed=-1 | data.seed=null
train                         | data.nothing=1 -> data.nothing: no such key; did you mean data\\. | +data.nothing=1
train                         | data=null | data=5 | data=nothing -> data=nothing: no such choice; expected one of
train                         | data._target_=os.getcwd -> getcwd takes no such key | data._target_=no.such -> data._target_=no.such
train                         | data.pixel_scale=0.00001 -> pixels from 0 to 1e-05: expected \\[0, 1\\]; divided by 255 twice
train data=lfw                | data.data_home=/no/such -> data.data_home=/no/such: no such folder; create it
train data=lfw                | data.resize=0.001 | data.resize=half | data.resize=0 | data.slice_=[[0,10]]
train data=lfw                | data.slice_=[[0,10],[9,251]] | data.slice_=[[0,10],[0,x]] | data.slice_=5 | data.slice_=[1,2]
train data=lfw                | data.download=yes! | data.funneled=abc | data.min_faces_per_person=0.5 | data.color=red
train data=lfw                | data.skip_unreadable=1 | data.cache_dir=null
train data=folder             | data.color=true -> data.root: needs a value; add data.root=
train data=folder data.root=faces | data.crop=5 | data.crop=[0,nan,0,1] | data.crop=[0.5,0.2,0,1] | data.crop=[0,1,0]
train data=folder data.root=faces | data.crop=abc | data.height=0 | data.width=5000
train data=folder             | data.root=nowhere -> data.root=nowhere: no such folder; expected <root>/<person> | data.root=xxxx
train data=folder             | data.root=file -> data.root=file: no such folder | data.root=loop -> data.root=loop: no such
train data=folder             | data.root=empty -> empty: nobody has data.min_faces_per_person=1 | data.root=5 -> data.root=5: no such
train data=folder             | data.root=one -> 'Cy' has fewer than 3 photos | data.root=black -> the photos are black
train data=folder             | data.root=pipe -> Bo/0.png: not a readable JPEG | data.root=dangling -> not a readable JPEG
train data=folder             | data.root=round -> Bo/0.png: not a readable JPEG | data.root=odd -> is not a name in UTF-8
train                         | model=null | model=lstmm -> model=lstmm: no such choice; expected one of .*lstm
train                         | model.hidden_size=0 | model.hidden_size=-1 | model.hidden_size=abc | model.hidden_size=null
train                         | model.hidden_size=65536 -> parameters need .*make it smaller | model.hidden_size=65537 | model.num_layers=1000000
train                         | model.hidden_size=1e9 -> model.hidden_size=1000000000.0: expected a whole | model.num_layers=-1
train                         | model.dropout=1 | model.dropout=abc | model.dropout=-0.1 | model.bidirectional=abc
train                         | model.bidirectional=1 | model.cell=elman | model.pooling=first | model.init=zeros | +model.foo=1
train                         | model._target_=os.getcwd -> getcwd takes no such key | model._target_=null | model=[
train model=cnn               | model.channels=[0] -> model.channels=\\[0\\]: expected | model.channels=[] | model.channels=5
train model=cnn               | model.channels=[a] -> model.channels=\\[a\\]: expected | model.kernel=4 | model.kernel=abc
train model=mlp               | model.hidden_size=0 | model.num_layers=1.5 | model.dropout=nan | model.init=5
train model=residual          | model.reader.hidden_size=0 | model.encoder.hidden_size=0 | model.encoder.bidirectional=abc
train model=residual          | model.num_layers=4 -> num_layers: no such key; did you mean model.\\w+.num_layers
train model=windows           | model.encoder.window=4 | model.encoder.stride=0 | model.reader.pooling=first
train model=reordered         | model.encoder.pixels=some | model.encoder.rows=5 | model.encoder.seed=-1
train                         | optimizer=null | optimizer.lr=abc | optimizer.lr=inf | optimizer.lr=nan | optimizer.lr=null
train                         | optimizer.lr=-1 -> optimizer.lr=-1: Invalid learning rate | optimizer.fused=abc
train                         | optimizer.lr=[1,2] -> optimizer.lr=\\[1,2\\]: expected a number | +optimizer.betas=[0.9]
train                         | +optimizer.betas=0.9 | optimizer.eps=-1 -> optimizer.eps=-1: Invalid epsilon | +optimizer.nothing=1
train                         | +optimizer.foreach=true -> optimizer.foreach=true: | +optimizer.weight_decay=nan
train optimizer=adamw         | optimizer.weight_decay=nan | optimizer.weight_decay=-1 | optimizer.lr=abc
train schedule=one_cycle      | schedule.max_lr=abc | schedule.max_lr=nan | schedule.max_lr=inf | +schedule.foo=1
train schedule=one_cycle      | schedule.pct_start=2 -> schedule.pct_start=2: Expected float | +schedule.anneal_strategy=foo
train schedule=cosine         | schedule.warmup=1 | schedule.final=nan | schedule.nothing=1 -> no such key
train augment=faces           | augment.mirror=2 | augment.mirror=abc | augment.mixup=nan | augment.shift=-0.1
train augment=faces           | augment.rotation=181 | +augment.foo=1
train                         | loss=null | loss.label_smoothing=1 | loss.label_smoothing=nan | loss.label_smoothing=abc
train                         | loss.label_smoothing=-0.1 | average_decay=-0.1 | average_decay=-inf
train                         | loss.class_weights=abc | loss.class_weights=5 | loss.class_weights=[1,2] -> expected 3 numbers
train                         | loss.class_weights=[1,2,nan] | average_decay=1
train                         | loss.class_weights=[1,2,inf] | average_decay=abc
train                         | loss.class_weights=[1,2,a] | average_decay=nan
train                         | loss.class_weights=[1,2,[3]]
train                         | loss.class_weights=[1,2,0] | logger=null | display=null
train                         | callbacks=null | callbacks=5 | callbacks=[core,nothing] -> callbacks=nothing: no such choice; expected
train                         | callbacks.plateau.mode=foo | callbacks.plateau.factor=2 | callbacks.plateau.patience=0
train                         | callbacks.plateau.factor=0 | callbacks.plateau.factor=1
train                         | callbacks.plateau.min_delta=abc | callbacks.plateau.min_lr=abc | callbacks.plateau.min_lr=nan
train                         | callbacks.early_stopping.monitor=null | callbacks.early_stopping.patience=abc
train                         | callbacks.early_stopping.mode=foo | +callbacks.early_stopping.min_delta=abc
train                         | callbacks.early_stopping.patience=-1 | callbacks.best.monitor=val/f1 | callbacks.best.mode=foo
train                         | callbacks.best.mode=max -> callbacks.best.mode=max: .* needs callbacks.best.mode=min
train                         | callbacks.best=5 | callbacks.best.filename=../../up | callbacks.best.filename=null | callbacks.last.filename=a/b
train                         | +callbacks.best.save_top_k=abc | callbacks.best.dirpath=/dev/null/x | callbacks.resume.seed=abc
train                         | callbacks.history.path=result.json | callbacks.history.path=null | +callbacks.x=5
train                         | +callbacks.x._target_=os.getcwd | +logger.x=5 | +logger.x._target_=os.getcwd | +display.x=5
train                         | trainer=null | trainer.precision=8 | trainer.max_epochs=0 | trainer.max_epochs=abc
train                         | trainer.max_epochs=1.5 | trainer.max_epochs=null | trainer.gradient_clip_val=-1
train                         | trainer.gradient_clip_val=abc | +trainer.gradient_clip_algorithm=foo -> =foo: .* invalid. Allowed
train                         | trainer.accelerator=abc -> trainer.accelerator=abc: .* invalid accelerator name | trainer.devices=2
train                         | trainer.devices=0 | trainer.devices=1000 | trainer.devices=abc | trainer.deterministic=abc
train trainer=ddp             | trainer.devices=1000 -> trainer.devices=1000: expected at most
train                         | +trainer.num_nodes=2 -> trainer.num_nodes=2: leave it out; expected 1 | +trainer.plugins=abc
train                         | +trainer.max_steps=0 -> trainer.max_steps=0: leave it out; expected -1 | +trainer.nothing=1
train                         | +trainer.limit_train_batches=0 | +trainer.limit_train_batches=abc | +trainer.min_epochs=abc
train                         | +trainer.limit_train_batches=0.001 -> trainer.limit_train_batches=0.001: .*You requested to check
train                         | +trainer.limit_test_batches=1 -> trainer.limit_test_batches=1: leave it out | +trainer.logger=5
train                         | +trainer.check_val_every_n_epoch=2 -> leave it out; expected 1 | +trainer.callbacks=5
train                         | +trainer.val_check_interval=0.00001 -> leave it out; expected 1.0 | +trainer.detect_anomaly=abc
train                         | +trainer.accumulate_grad_batches=0 | +trainer.strategy=abc -> trainer.strategy=abc: .* invalid
train                         | +trainer.profiler=abc -> trainer.profiler=abc: .*simple | +trainer.max_time=abc -> DD:HH:MM:SS
train                         | trainer.log_every_n_steps=abc | trainer.num_sanity_val_steps=abc | +trainer.overfit_batches=abc
train                         | monitor=val/los | monitor=5 | monitor=null | monitor_mode=abc | seed=abc | seed=-1 | seed=1.5
train                         | monitor=val/accuracy -> monitor_mode=min: monitor=val/accuracy needs monitor_mode=max
train                         | seed=4294967296 | seed="''" -> seed=: expected | threads=1025 | threads={a:1} -> threads=.*: expected
train                         | seed=99999999999999999999 | split_seed=1.5 | split_seed=null | threads=0 | threads=100000
train                         | debug=true -> debug=true: expected one of its choices; --help lists them | test_mirror=abc
train                         | fail_fast=abc | substitute_data=5 | run_dir=null | trial=0 -> \\+sweep=tpe
train                         | tags=x | search=5 | seed=0,1 -> Ambiguous value for argument 'seed=0,1' | ~nothing -> 'nothing' does not exist
train                         | +nothing=1 -> nothing: no such key | ++sead=1 -> sead: no such key; did you mean seed\\?
train                         | seed -> seed: expected key=value | seed={ -> seed={: expected key=value | =5 -> expected
train                         | seed=${nothing} -> 'nothing' not found | experiment=nothing -> no such choice; expected one of .*lab
train                         | hydra.run.dir=file | hydra.run.dir=file/x | hydra.run.dir=loop | hydra.run.dir=/proc/x
train                         | hydra.run.dir=xxxx -> File name too long | hydra.run.dir=/dev/null/x | hydra.run.dir=null -> run.dir=null:
train                         | hydra.run.dir=run -> holds a finished run: choose another | hydra.run.dir=faces -> no run of lfw_seq
train                         | hydra.nothing=1 -> no such key | hydra.job_logging=abc -> hydra.job_logging=abc: Cannot
train                         | hydra.job_logging.root.level=FOO -> level=FOO: Unable to configure | hydra.output_subdir=5
train                         | hydra.callbacks=null -> hydra.callbacks=null: .* not Optional | hydra/job_logging=no -> =no: no such choice
train                         | hydra/launcher=nothing -> no such choice; expected one of basic | hydra.verbose=5 -> hydra.verbose=5
train                         | --nothing -> --nothing: no such flag; expected | --cfg=nothing | --info=nothing | -c nothing -> -c=nothing: expected one of job
train                         | --config-name=nothing -> config 'nothing' | --config-dir=no -> no' not found | --resolve -> --cfg
sweep seed=0,1                | hydra.sweeper.seed=abc -> no such key | hydra.sweeper.params=5 -> hydra.sweeper.params=5: Cannot
sweep seed=0,1                | hydra.sweeper.max_batch_size=abc -> max_batch_size=abc: .* could not be converted to Integer
sweep seed=0,1                | +nothing.at.all=1 -> nothing: no such key | hydra/sweeper=optuna -> expected one of basic
sweep                         | schedule=cosine,null -> schedule=cosine,null: expected one of its choices
sweep seed=0,1                | hydra.sweep.dir=file | hydra.sweep.dir=/proc/x | hydra.sweep.dir=null -> sweep.dir=null:
sweep seed=0,1                | hydra.sweep.subdir=/dev/null/x -> /dev/null/x: Not a directory | hydra/sweeper=no -> no such choice
sweep seed=0,1                | trainer=cpu,ddp -> trainer=cpu,ddp: a run of several processes cannot be a job of a multirun; leave -m out
sweep seed=0,1                | trainer=ddp -> trainer=ddp: .*; leave -m out | +trainer.strategy=ddp_spawn -> \\+trainer.strategy=ddp_spawn: .*; leave -m out
sweep seed=0,1                | hydra/launcher=no -> no such choice | data.resiz=1,2 -> no such key
sweep                         | seed=range(5,0) -> seed=range\\(5,0\\): no jobs; expected | seed=choice( -> seed=choice\\(: expected
sweep                         | model=nothing,lstm -> model=nothing: no such choice | +sweep=nothing -> no such choice
sweep +sweep=tpe trial=0      | search.seed=abc | search.seed=-1 | search.n_startup_trials=abc | search.prune_warmup_epochs=1.5
sweep +sweep=tpe trial=0      | search.space=null | search.space.optimizer=5 | search.space.optimizer.lr.low=abc
sweep +sweep=tpe trial=0      | +search.space.nothing.at.all=[1] -> search.space.nothing.at.all: no such key; expected
sweep +sweep=tpe trial=0      | search.space.optimizer.lr.low=5 -> low=5: .low <= high. must hold | search=null -> .
sweep +sweep=tpe trial=0      | data.val_from=none -> data.val_from=none: a search compares validation metrics; expected
sweep +sweep=tpe trial=0      | search.space.model.hidden_size=[] -> hidden_size=\\[\\]: .* one or more
sweep data=synthetic           | model.num_layers=4 model=lstm,residual -> model.num_layers: no such key; not every choice has it
sweep +sweep=tpe trial=0      | hydra.sweeper.n_trials=5 -> hydra.sweeper.n_trials: no such key
evaluate                      | run=nowhere -> run=nowhere: no such folder; expected | run=file | run=empty -> no checkpoints/best.ckpt
evaluate                      | run=loop | run=null | run=torn -> best.ckpt: damaged
evaluate                      | run=table -> predictions.csv: expected probabilities | run=[1,2]
evaluate                      | run=bad -> result.json: cannot be read | faces=nowhere | faces=file | faces=empty -> empty: nobody has | against=nowhere
evaluate                      | against=empty | mistakes=-1 | mistakes=abc | photos=abc | device=abc | device=cuda -> use device=cpu
evaluate                      | threads=0 | threads=abc | split_seed=abc | split_seed=-1 | data.fold=9 | data.fold=abc
evaluate                      | data.test_size=0 | data.test_size=abc | data.nothing=1 -> no such key | +data.height=5
evaluate                      | +data.pixel_scale=abc | data=nothing -> no such choice | data=null | data=5 | data.num_folds=1
evaluate data=folder          | data.root=nowhere -> data.root=nowhere: no such folder | nothing=1 -> nothing: no such key | +nothing=1 -> no such key
evaluate                      | traceback=abc | out=file -> out=file: cannot be written | out=file/x -> out=file/x: cannot be written
predict                       | run=nowhere | run=null | images=nowhere -> images=nowhere: no image there; expected
predict                       | images=empty -> images=empty: no image there; expected | images=null -> no image there
predict                       | format=abc | format=null | top_k=0 | top_k=abc | batch_size=0 | device=abc | threads=0
predict                       | fpir=0.05 -> fpir=0.05: no threshold for it | fpir=abc -> fpir=abc: no threshold | threads=100000
predict                       | out=file/x -> out=file/x: cannot be written \\(.*\\); expected another place | out=faces -> cannot be written | nothing=1 -> no such
predict                       | run=torn -> best.ckpt: damaged | traceback=5
export                        | run=nowhere | run=null | format=abc -> format=abc: expected one of onnx, torch | format=null | data.download=abc | nothing=1 -> no such key
export                        | run=torn -> best.ckpt: damaged | out=file/x -> out=file/x: cannot be written
report                        | sweep=nowhere | sweep=file | sweep=loop | sweep=null | sweep=[run,nowhere] -> sweep=nowhere: no such
report                        | sweep=empty -> no finished run in or under it | sweep=ru* -> sweep=ru\\*: needs out=FOLDER | sweep=run/result.json
report                        | metric=foo -> metric=foo: no run has it; expected one of .*majority_rate, predicted_classes, .*test/accuracy
report                        | metric=null -> no run has it; expected | monitor=foo -> monitor=foo: no run has it; expected one of val/accuracy, .*val/loss
report                        | monitor_mode=abc -> monitor_mode: no such key | metirc=x -> metirc: no such key; did you mean metric\\?
report                        | out=file -> out=file: cannot be written | out=/proc/x -> out=/proc/x: | nothing=1 -> no such
report                        | sweep=bad -> sweep=bad: no finished run | traceback=abc
baselines                     | baseline=abc | baseline=null | baseline=svm -> svm.components=150: expected at most
baselines baseline=svm        | svm.components=0 | svm.components=abc | svm.C=abc | svm=null | svm.seed=abc
baselines svm.components=5    | svm.C=[-1] -> svm.C=\\[-1\\]: .* must be a float | svm.gamma=[-1] -> svm.gamma=
baselines svm.components=5    | svm.gamma=[] -> svm.gamma=\\[\\]: .*non-empty
baselines baseline=nystroem   | nystroem.components=0 | nystroem.components=500 | nystroem.landmarks=abc
baselines baseline=logistic   | logistic.C=5 | logistic.C=[abc] -> logistic.C=\\[abc\\]: expected | +logistic.foo=1
baselines baseline=logistic   | logistic.C=[-1] -> logistic.C=\\[-1\\]: .* must be a float
baselines baseline=majority   | tuning_folds=1 | tuning_folds=abc | refit=abc | seed=abc | seed=99999999999999999999
baselines baseline=majority   | tuning_folds=999 | split_seed=abc | threads=0
baselines baseline=majority   | threads=100000 | fail_fast=abc | traceback=abc | monitor=foo | data=null | data.val_size=0
baselines -m                  | hydra/sweeper=optuna -> sweeper=optuna: no such choice; expected one of basic
baselines baseline=majority   | +nothing=1 -> nothing: no such key | model=lstm -> model: no such key | hydra.run.dir=file/x
benchmark                     | what=abc | what=null | rounds=0 | rounds=abc | runs=abc | threads=0
benchmark                     | nothing=1 -> nothing: no such key | model=nothing -> no such choice
"""
ROWS = [
    (start.strip(), *map(str.strip, entry.partition(" -> ")[::2]))
    for start, _, entries in (line.partition("|") for line in TABLE.strip().splitlines())
    for entry in entries.split(" | ")
]
INPUTS = [  # every fourth in `make test`
    pytest.param(*row, id=f"{row[0]} {row[1]}", marks=[pytest.mark.slow] * (number % 4 > 0))
    for number, row in enumerate(ROWS)
]


@pytest.fixture(scope="module")
def world(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, photos, and what may be wrong with either."""
    root = tmp_path_factory.mktemp("world")
    for name in ("run", "torn", "bad", "table"):
        shutil.copytree(run, root / name)
    (root / "torn" / "checkpoints" / "best.ckpt").write_bytes(b"PK")
    (root / "bad" / "result.json").write_text("{")
    shutil.rmtree(root / "table" / "checkpoints")
    (root / "table" / "predictions.csv").write_text("\0")
    (root / "file").write_text("text")
    (root / "loop").symlink_to("loop")
    (root / "empty").mkdir()
    counts = {f"{name}/{who}": 3 for name in ("faces", "black", "pipe", "dangling", "round") for who in ("Ann", "Bo")}
    counts |= {"one/Ann": 3, "one/Cy": 1, os.fsdecode(b"odd/Jos\xe9"): 3}
    for folder, count in counts.items():
        for index in range(count):
            save_face(root / folder / f"{index}.png", index + 1, (20, 24))
    for path in (root / "black").rglob("*.png"):
        Image.new("L", (20, 24)).save(path)
    for name in ("pipe", "dangling", "round"):
        (root / name / "Bo" / "0.png").unlink()
    os.mkfifo(root / "pipe" / "Bo" / "0.png")
    (root / "dangling" / "Bo" / "0.png").symlink_to("nothing.png")
    (root / "round" / "Bo" / "0.png").symlink_to("0.png")
    gc.collect()
    gc.freeze()  # or composing hundreds of configs looks through torch's objects again and again
    return root


@pytest.fixture(autouse=True)
def standing(world: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test stands in the world, where a command may take a minute, and draws no pixels of a figure."""
    monkeypatch.chdir(world)
    monkeypatch.setattr(Figure, "savefig", lambda *args, **kwargs: None)
    before = signal.signal(signal.SIGALRM, Mock(side_effect=TimeoutError("hangs")))
    yield
    signal.signal(signal.SIGALRM, before)


def listing() -> dict[str, int]:
    return {str(path): path.lstat().st_mtime_ns for path in sorted(Path().rglob("*"))}


@pytest.mark.filterwarnings("error:Callback .* raised")  # Hydra's, of an error in ours
@pytest.mark.parametrize(("start", "entry", "text"), INPUTS)
def test_a_mistake_ends_in_one_line(
    start: str, entry: str, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *more = start.split()
    typed = shlex.split(entry.replace("xxxx", "x" * 300))
    words = START[command].replace(DRAWN, "") if " data=" in start else START[command]
    before, module = listing(), "train" if command == "sweep" else command
    signal.alarm(60)
    status = invoke(*words.split(), *more, *typed, module=module, monkeypatch=monkeypatch)
    signal.alarm(0)
    printed = capsys.readouterr()
    assert status == 2, printed
    key, _, value = entry.lstrip("+").partition("=")
    assert re.fullmatch(r"error: [^\n]+\n", printed.err), printed.err
    assert re.search(text or rf"{re.escape(key)}=.*{re.escape(value)}: .*expected", printed.err), printed.err
    assert listing() == before
