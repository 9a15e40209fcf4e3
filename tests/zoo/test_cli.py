import json

import pytest
from click.testing import CliRunner

from celo.cli.zoo import command
from celo.errors import WeightsError
from celo_zoo import card, cards


def run(*arguments, code=0):
    result = CliRunner().invoke(command, list(arguments))
    if code == 0 and result.exception is not None:
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def as_json(*arguments, code=0):
    return json.loads(run(*arguments, "--format", "json", code=code).stdout)


def test_list_fits_80_columns(published, monkeypatch):
    monkeypatch.setenv("CELO_ZOO_PATH", str(published))
    result = run("list")
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80 - len("unverified")
    assert [line.split()[0] for line in lines[2:]] == list(cards())
    celo = next(line for line in lines if line.startswith("celo "))
    assert celo.split() == ["celo", "37,089", "149.2", "kB", "zoo-path", "verified"]
    assert "celo zoo pull NAME" in result.stderr


def test_list_json_is_a_bare_array(hub, state):
    hub.publish("amoudgl/celo2-base", state)
    run("pull", "celo2-base")
    entries = {entry["name"]: entry for entry in as_json("list")}
    assert list(entries) == list(cards())
    assert entries["celo"]["location"] == "not here" and entries["celo"]["bytes"] == 149216
    here = entries["celo2-base"]
    assert (here["location"], here["status"]) == ("cache", "unverified")
    assert here["bytes"] == len(state) and len(here["sha256"]) == 64


def test_list_survives_damage_and_says_so(tmp_path, monkeypatch):
    (tmp_path / "celo").mkdir()
    (tmp_path / "celo" / "theta.state").write_bytes(b"damaged")
    monkeypatch.setenv("CELO_ZOO_PATH", str(tmp_path))
    result = run("list")
    assert "damaged" in next(line for line in result.stdout.splitlines() if "celo " in line)
    assert "unknown format" in result.stderr
    monkeypatch.setenv("CELO_ZOO_PATH", str(tmp_path / "none"))
    assert run("list").stderr.count("which is not a folder") == 1


def test_show(published, monkeypatch):
    monkeypatch.setenv("CELO_ZOO_PATH", str(published))
    text = run("show", "celo").stdout
    for part in ("zoo-path (verified)", "2501.12670", "MIT", "rnn_params|rnn/linear|w"):
        assert part in text
    entry = as_json("show", "celo_adam")
    assert entry["schema"] == 1 and entry["name"] == "celo-adam"
    assert entry["content_hash"] == card("celo-adam").content_hash
    assert len(entry["leaves"]) == 12
    assert "not known" in run("show", "velo-4000").stdout


def test_pull_path_verify_rm(hub, state, cache):
    commit = hub.publish("amoudgl/celo2-base", state)
    pulled = run("pull", "celo2base")
    path = str(cache / "zoo" / "celo2-base" / "theta.safetensors")
    assert pulled.stdout == path + "\n"
    assert commit in pulled.stderr and "recorded and enforced" in pulled.stderr
    again = as_json("pull", "celo2-base")
    assert again["schema"] == 1 and again["weights"][0]["downloaded"] is False
    assert run("path", "celo2-base").stdout == path + "\n"
    assert as_json("path", "celo2-base")["path"] == path
    checked = as_json("verify")
    assert checked["ok"] and {c["name"] for c in checked["checks"]} == {"celo2-base"}
    assert "unknown  content hash" in run("verify", "celo2-base").stdout
    assert as_json("rm", "celo2-base")["removed"].endswith("celo2-base")
    assert "no weights of the zoo" in run("verify").stderr


def test_verify_fails_with_1(published, tmp_path, monkeypatch):
    data = bytearray((published / "celo" / "theta.state").read_bytes())
    data[-10] ^= 1
    (tmp_path / "celo").mkdir()
    (tmp_path / "celo" / "theta.state").write_bytes(data)
    monkeypatch.setenv("CELO_ZOO_PATH", str(tmp_path))
    assert "failed   content hash: expected" in run("verify", "celo", code=1).stdout
    assert as_json("verify", code=1)["ok"] is False
    assert run("verify", str(tmp_path / "celo" / "theta.state")).exit_code == 0


@pytest.mark.parametrize("arguments", [("pull", "celo"), ("path", "celo"), ("rm", "celo")])
def test_what_is_not_here_is_an_error_of_ours(arguments):
    result = CliRunner().invoke(command, list(arguments))
    assert isinstance(result.exception, WeightsError)
    assert result.stdout == ""


def test_rm_removes_only_entries_of_the_cache(tmp_path, state):
    path = tmp_path / "theta.state"
    path.write_bytes(state)
    assert "removes only those" in run("rm", str(path), code=2).stderr
    assert path.exists()


def test_names_are_completed():
    from click.shell_completion import ShellComplete

    completion = ShellComplete(command, {}, "celo zoo", "_CELO_COMPLETE")
    for arguments in (["show"], ["pull", "celo"], ["verify"]):
        found = [item.value for item in completion.get_completions(arguments, "celo2")]
        assert found == ["celo2", "celo2-base"]


def test_all_and_names_exclude_each_other():
    assert "exclude each other" in run("verify", "--all", "celo", code=2).stderr
