"""`celo eval` as users run it, in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.process import CELO, celo, children, runs
from tests.shared_folder import checkpoints_dir

QUICK = [
    *("eval", "--task", "Digits_MLP_32", "--steps", "20", "--eval-batches", "1"),
    *("--last-eval-batches", "1", "--seeds", "0", "--reference", "none"),
]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--optimizers", "adamm", "--suite", "quickstart"], "unknown optimizer 'adamm'"),
        (["--optimizers", "celo", "--suite", "fast"], "unknown suite 'fast'"),
        (["--optimizers", "celo", "--task", "Digits"], "unknown task 'Digits'"),
        (["--optimizers", "adam:rate=1", "--suite", "quickstart"], "no hyperparameter 'rate'"),
        (["--optimizers", "adam:lr=-1", "--suite", "quickstart"], "at least 0"),
        (["--optimizers", "", "--suite", "quickstart"], "no optimizer was given"),
        (["--optimizers", "sgd"], "no task was given"),
        (["--optimizers", "sgd", "--suite", "quickstart", "--seeds", ""], "seeds is empty"),
        (["--optimizers", "sgd", "--suite", "quickstart", "--seeds", "0,0"], "repeated: 0"),
        (["--optimizers", "sgd", "--suite", "quickstart", "--seeds", "a"], "whole numbers"),
        (["--optimizers", "sgd", "--suite", "quickstart", "--seeds", "5-2"], "seeds is empty"),
        (["--optimizers", "sgd", "--suite", "quickstart", "--steps", "0"], "at least 1, got 0"),
        (["--optimizers", "sgd", "--suite", "quickstart", "--steps", "-3"], "at least 1, got -3"),
        (["--optimizers", "sgd", "--suite", "quickstart", "--steps", "x"], "not a valid integer"),
        (["--optimizers", "sgd", "--suite", "quickstart", "--config", "no.toml"], "cannot read"),
        (["--optimizers", "sgd", "--suite", "quickstart", "--memory-limit", "8X"], "got '8X'"),
        (["--optimizers", "sgd", "--suite", "quickstart", "--time-limit", "0"], "above 0"),
        (["--optimizers", "sgd", "--suite", "quickstart", "--workers", "0"], "--workers must be"),
        (["--optimizers", "sgd", "--suite", "quickstart", "--workers", "1025"], "at most 1,024"),
        (["--optimizers", "sgd", "--suite", "quickstart", "--shard", "3/2"], "got '3/2'"),
        (
            ["--optimizers", "sgd", "--suite", "quickstart", "--shard", "1/2", "--fresh"],
            "--fresh with --shard",
        ),
    ],
)
def test_wrong_requests(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = celo("eval", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr and done.stdout == ""
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_missing_data_say_where_to_put_them(tmp_path: Path) -> None:
    done = celo("eval", "--optimizers", "sgd", "--task", "FastVelo_mnist", cwd=tmp_path)
    assert done.returncode == 1
    assert "mnist.npz" in done.stderr and "CELO_DATA_DIR" in done.stderr


def test_damaged_data_stop_their_own_tasks_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mnist.npz").write_bytes(b"PK cut short")
    spoilt = ("FastVelo_mnist", "ImageMLP_Mnist_128x128x128_Relu")
    tasks = [word for name in (*spoilt, "Digits_MLP_32") for word in ("--task", name)]
    short = ["--steps", "2", "--seeds", "0", "--reference", "none", "--output", "run"]
    words = ["eval", "-o", "sgd:lr=0.1", *tasks, *short]
    cache, data = str(tmp_path / "cache"), str(tmp_path / "data")
    done = celo(*words, cwd=tmp_path, CELO_CACHE_DIR=cache, CELO_DATA_DIR=data)
    assert done.returncode == 3, done.stderr
    assert "Digits_MLP_32" in done.stdout
    said = [line for line in done.stderr.splitlines() if "cannot be read" in line]
    assert len(said) == 1 and said[0].startswith(f"skipped {', '.join(spoilt)}: ")
    report = celo("report", "run", "--format", "json", cwd=tmp_path)
    notes = json.loads(report.stdout)["provenance"]["notes"]
    assert report.returncode == 3
    (note,) = [note for note in notes if "cannot be read" in note]
    assert note.startswith(f"incomplete: {', '.join(spoilt)} were skipped: ")


def test_missing_weights_offline_say_how_to_get_them(tmp_path: Path) -> None:
    done = celo(*QUICK, "--optimizers", "velo-s", cwd=tmp_path, CELO_ZOO_PATH=str(tmp_path))
    assert done.returncode == 1
    assert "celo zoo pull velo-s" in done.stderr and "Traceback" not in done.stderr


def test_weights_of_another_optimizer_are_refused(tmp_path: Path) -> None:
    path = checkpoints_dir() / "celo-adam" / "theta.state"
    done = celo(*QUICK, "--optimizers", f"celo@{path},sgd:lr=0.1", cwd=tmp_path)
    assert done.returncode == 1
    assert "ff_mod_stack" in done.stderr and done.stdout == ""
    assert not list(tmp_path.rglob("*.npz"))


def _weights(change: str, path: Path) -> None:
    """The published weights of celo, with one thing wrong."""
    import numpy as np

    from celo_zoo import read_weights, write_safetensors

    published = checkpoints_dir() / "celo" / "theta.state"
    if change in ("truncated", "flipped"):
        content = bytearray(published.read_bytes())
        if change == "truncated":
            del content[len(content) // 2 :]
        else:
            content[len(content) // 2] ^= 1
        path.with_suffix(".state").write_bytes(bytes(content))
        return
    if change == "pickle":
        path.with_suffix(".state").write_bytes(b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00].")
        return
    leaves = {name: np.array(leaf) for name, leaf in read_weights(published).leaves.items()}
    bias = "ff_mod_stack|~|b0"
    if change == "missing":
        del leaves[bias]
    elif change == "extra":
        leaves["ff_mod_stack|~|b9"] = leaves[bias]
    elif change == "reshaped":
        leaves[bias] = leaves[bias].reshape(2, 2)
    else:
        leaves[bias][0, 0] = np.nan
    write_safetensors(path.with_suffix(".safetensors"), leaves, {})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("truncated", ["theta.state"]),
        ("flipped", ["theta.state", "expected"]),
        ("pickle", ["pickle"]),
        ("missing", ["ff_mod_stack|~|b0", "found none"]),
        ("extra", ["ff_mod_stack|~|b9"]),
        ("reshaped", ["ff_mod_stack|~|b0", "(1, 4)", "(2, 2)"]),
        ("non-finite", ["ff_mod_stack|~|b0", "finite"]),
    ],
)
def test_bad_weights_are_refused(change: str, words: list[str], tmp_path: Path) -> None:
    (tmp_path / "celo").mkdir()
    _weights(change, tmp_path / "celo" / "theta")
    done = celo(*QUICK, "--optimizers", "celo", cwd=tmp_path, CELO_ZOO_PATH=str(tmp_path))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and done.stdout == ""
    for word in words:
        assert word in done.stderr
    assert not (tmp_path / "celo-runs").exists()


def test_damaged_cells_are_named_and_computed_again(tmp_path: Path) -> None:
    run = [*QUICK, "--optimizers", "sgd:lr=0.1", "--output", str(tmp_path)]
    first = celo(*run)
    file = next(tmp_path.glob("cells/*/*/*.npz"))
    file.write_bytes(b"PK" + file.read_bytes()[:100])
    (file.parent / ".seed0.npz.1234.part").write_bytes(b"torn")
    reported = celo("report", str(tmp_path), "--reference", "none")
    assert reported.returncode != 0 and file.name in reported.stderr + reported.stdout
    again = celo(*run)
    assert again.returncode == 0 and str(file) in again.stderr
    assert again.stdout.split("Cost")[0] == first.stdout.split("Cost")[0]


def test_losses_that_are_not_numbers_are_results(bad_plugins: Path, tmp_path: Path) -> None:
    run = [*QUICK, "--task", "Hopeless", "--optimizers", "nan:at=3,sgd:lr=0.1"]
    done = celo(*run, "--reference", "sgd:lr=0.1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    failures = {
        line.split()[0]: line.split()[-1] for line in done.stdout.splitlines() if "/" in line[-4:]
    }
    assert "diverged 2/2" in done.stdout and "diverged 1/2" in done.stdout, failures


def test_an_unwritable_folder_is_said(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    done = celo(*QUICK, "--optimizers", "sgd:lr=0.1", "--output", str(file / "run"))
    assert done.returncode == 1
    assert "cannot write to" in done.stderr and "--output" in done.stderr


def test_another_horizon_needs_another_folder(tmp_path: Path) -> None:
    run = [*QUICK, "--optimizers", "sgd:lr=0.1", "--output", str(tmp_path / "run")]
    assert celo(*run).returncode == 0
    other = [*run, "--steps", "30"]
    refused = celo(*other)
    assert refused.returncode == 1
    assert "steps: 20 here, 30 asked" in refused.stderr
    fresh = celo(*other, "--fresh")
    assert fresh.returncode == 0 and "run.before-1" in fresh.stderr
    assert (tmp_path / "run.before-1" / "run.json").exists()


def test_json_and_resume(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text(
        'optimizers = ["sgd:lr=0.1"]\ntasks = ["Digits_MLP_32"]\nsteps = 30\nseeds = [0, 1, 2]\n'
        'reference = "sgd:lr=0.1"\neval_batches = 1\nlast_eval_batches = 1\n'
    )
    run = ["eval", "--config", str(config), "--format", "json", "--output", str(tmp_path / "run")]
    first = celo(*run)
    assert first.returncode == 0, first.stderr
    value = json.loads(first.stdout)
    assert value["schema"] == 1 and value["complete"] is True
    assert {"run", "aggregate", "tasks", "cost", "provenance"} <= value.keys()
    iqm = [row for row in value["aggregate"] if row["metric"] == "final_loss_iqm"]
    assert [row["value"] for row in iqm] == [1.0]
    again = celo(*run, JAX_PLATFORMS="no-such-platform")  # JAX would fail if it were used
    assert again.returncode == 0 and again.stdout == first.stdout
    reported = celo(
        "report", str(tmp_path / "run"), "--format", "json", "--reference", "sgd:lr=0.1"
    )
    for part in ("aggregate", "tasks", "run"):
        assert json.loads(reported.stdout)[part] == value[part]


def test_a_failing_optimizer_leaves_the_rest(bad_plugins: Path, tmp_path: Path) -> None:
    done = celo(*QUICK, "--optimizers", "raises,sgd:lr=0.1", cwd=tmp_path)
    assert done.returncode == 3
    assert "no more ideas" in done.stderr and "sgd:lr=0.1" in done.stdout


@pytest.mark.slow
def test_a_block_beyond_the_memory_limit_is_shown_and_runs_without_one(tmp_path: Path) -> None:
    run = [*QUICK, "--optimizers", "sgd:lr=0.1", "--output", str(tmp_path)]
    done = celo(*run, "--memory-limit", "1K")
    assert done.returncode == 3 and "Traceback" not in done.stderr
    assert "by the compiler's estimate, and --memory-limit allows 1 KiB" in done.stderr
    assert "failed 1/1" in done.stdout
    assert celo(*run).returncode == 0  # failed cells are computed again


def test_a_reader_who_leaves_harms_no_result(tmp_path: Path) -> None:
    run = [*QUICK, "--optimizers", "sgd:lr=0.1,adam:lr=1e-3", "--output", str(tmp_path)]
    command = " ".join([CELO, *run])
    script = f"set -o pipefail; {command} 2>&1 | head -c 1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0
    reported = celo("report", str(tmp_path), "--format", "json")
    assert {row["status"] for row in json.loads(reported.stdout)["tasks"]} == {"done"}


def test_what_plugins_print_is_no_data(bad_plugins: Path, tmp_path: Path) -> None:
    module = bad_plugins / "celo_bad.py"
    module.write_text(
        module.read_text().replace(
            "def build_nan(at=5):", "def build_nan(at=5):\n    print('noise')"
        )
    )
    done = celo(*QUICK, "--optimizers", "nan:at=3", "--format", "json", cwd=tmp_path)
    assert done.returncode == 0 and json.loads(done.stdout)["complete"] is True


def test_fresh_works_on_a_damaged_run(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{")
    run = [*QUICK, "--optimizers", "sgd:lr=0.1", "--output", str(tmp_path / "run")]
    assert "damaged" in celo(*run).stderr
    assert celo(*run, "--fresh").returncode == 0


def test_one_run_never_mixes_weights(tmp_path: Path) -> None:
    import shutil

    from celo_zoo import read_weights, write_safetensors

    published = checkpoints_dir() / "celo-adam" / "theta.state"
    path = tmp_path / "mine.safetensors"
    leaves = dict(read_weights(published).leaves)
    write_safetensors(path, leaves, {})
    run = [*QUICK, "--optimizers", f"celo-adam@{path}", "--output", str(tmp_path / "run")]
    assert celo(*run).returncode == 0
    leaves["rnn_params|step_size|b"] = leaves["rnn_params|step_size|b"] + 1
    write_safetensors(path, leaves, {})
    refused = celo(*run)
    assert refused.returncode == 1 and "with other weights" in refused.stderr
    shutil.rmtree(tmp_path / "run")
    assert celo(*run).returncode == 0


@pytest.mark.parametrize(
    ("number", "workers"), [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGINT, 2)]
)
def test_an_interruption_keeps_what_is_finished(
    tmp_path: Path, number: signal.Signals, workers: int
) -> None:
    run = ["eval", "--optimizers", "sgd:lr=0.1", "--reference", "none", "--seeds", "0,3,6"]
    run += [
        "--task",
        "Digits_MLP_32",
        "--steps",
        "1000000",
        "--output",
        str(tmp_path / "run"),
        "--format",
        "json",
        "--workers",
        str(workers),
    ]
    process = subprocess.Popen(
        [CELO, *run], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ
    )
    assert process.stderr is not None
    for line in process.stderr:
        if " step " in line:
            break
    started = children(process.pid)
    assert len(started) == (workers if workers > 1 else 0)
    process.send_signal(number)
    began = time.monotonic()
    stdout, stderr = process.communicate(timeout=60)
    assert time.monotonic() - began < 20
    assert process.returncode == 130, stderr
    assert "the same command goes on" in stderr
    assert json.loads(stdout)["error"]["code"] == "interrupted"
    assert not list((tmp_path / "run").rglob("*.part"))
    assert not [worker for worker in started if runs(worker)]
