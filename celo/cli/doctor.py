"""`celo doctor`: what is installed, found and reachable here, and what mends the rest.

Every area is examined behind its own guard: whatever one of them meets, the others report and the
command leaves with 0, because a doctor who falls over the patient helps nobody.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import click

from celo.cli.output import format_option, print_json, say

Status = Literal["ok", "absent", "broken"]

NETWORK_SECONDS = 3.0
_VARIABLES = {
    "CELO_CACHE_DIR": "folder of the cache",
    "CELO_DATA_DIR": "folder of data sets",
    "CELO_PLUGINS": "distributions whose plugins are used",
    "CELO_STRICT_PLUGINS": "the first plugin error is raised",
    "CELO_ZOO_PATH": "folder of weights",
}
_OTHER_VARIABLES = (
    *("HF_ENDPOINT", "HF_HOME", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"),
    *("JAX_PLATFORMS", "JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_X64", "XLA_FLAGS"),
)
_MIN_FREE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
      name: of the thing.
      status: "absent" is what is needed only by who asks for it; "broken" will not work.
      detail: what was found.
      fix: the command, or what else to do; None where nothing is wrong.
    """

    name: str
    status: Status
    detail: str
    fix: str | None = None


@click.command("doctor")
@format_option("text", "json")
def command(format_: str) -> None:
    """Look at this installation and say what would not work, and how to mend it.

    Versions, devices, cache, data, weights, plugins, network (one attempt of at most three
    seconds; none with HF_HUB_OFFLINE=1) and environment. Nothing is sent, fetched or changed. The
    exit code is 0 whatever is found. Bug reports start with this.
    """
    found = examine()
    broken = sum(finding.status == "broken" for area in found.values() for finding in area)
    if format_ == "json":
        checks = [{"area": area, **asdict(f)} for area, findings in found.items() for f in findings]
        print_json({"schema": 1, "ok": not broken, "checks": checks})
        return
    _print(found)
    things = "1 thing" if broken == 1 else f"{broken} things"
    say(f"{things} will not work; -> says what mends it" if broken else "nothing is broken")


def examine() -> dict[str, list[Finding]]:
    """Looks at every area; what fails while looking is a finding too."""
    found: dict[str, list[Finding]] = {}
    for area, look in AREAS.items():
        findings = found.setdefault(area, [])
        try:
            for finding in look():
                findings.append(finding)
        except (Exception, SystemExit) as error:
            detail = f"this could not be examined: {_one_line(error)}"
            findings.append(Finding(area, "broken", detail, "report this as a defect of celo"))
    return found


def _versions() -> Iterator[Finding]:
    from importlib import metadata

    yield Finding("python", "ok", f"{sys.version.split()[0]} ({sys.executable})")
    yield Finding("celo", "ok", metadata.version("celo"))
    # The bounds are those of setup.cfg, read where pip reads them, so that none is written twice.
    for name, bounds in requirements([*(metadata.requires("celo") or []), "jaxlib"]).items():
        install = f"{_pip()} install '{name}{bounds}'"
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Finding(name, "broken", f"not installed, expected {bounds or 'any'}", install)
            continue
        if satisfies(version, bounds):
            yield Finding(name, "ok", version)
        else:
            yield Finding(name, "broken", f"{version}, expected {bounds}", install)


def requirements(lines: Iterable[str]) -> dict[str, str]:
    """Bounds (`>=2.2,<3`) by name from the lines of a distribution's metadata, extras left out."""
    found = {}
    for line in lines:
        match = re.fullmatch(r"([\w.-]+)\s*([^;]*)(;.*)?", line)
        if match and "extra" not in (match[3] or ""):
            found[match[1]] = ",".join(sorted(match[2].replace(" ", "").split(","), reverse=True))
    return found


def satisfies(version: str, bounds: str) -> bool:
    """Whether a version lies within bounds made of `>=` and `<`."""

    def numbers(text: str) -> list[int]:
        return [*map(int, re.findall(r"\d+", text.partition("+")[0])), 0, 0, 0][:3]

    pairs = re.findall(r"(>=|<)([\d.]+)", bounds)
    return all((numbers(version) >= numbers(bound)) == (sign == ">=") for sign, bound in pairs)


def _devices() -> Iterator[Finding]:
    reinstall = f"{_pip()} install --upgrade jax jaxlib"
    try:
        import jax
    except (Exception, SystemExit) as error:
        detail = f"cannot be imported: {_one_line(error)}"
        yield Finding("jax", "broken", detail, reinstall)
        return
    asked = os.environ.get("JAX_PLATFORMS")
    try:
        devices = jax.devices()
    except (Exception, SystemExit) as error:
        fix = "unset JAX_PLATFORMS" if asked else reinstall
        yield Finding("jax", "broken", f"finds no device: {_one_line(error)}", fix)
        return
    for device in devices:
        yield Finding(str(device), "ok", f"{device.device_kind}, {device.platform}")
    if not asked and Path("/dev/nvidiactl").exists() and devices[0].platform == "cpu":
        detail = "a GPU is here, but this jaxlib computes on the CPU"
        yield Finding("gpu", "broken", detail, f"{_pip()} install --upgrade 'jax[cuda12]'")


def _cache() -> Iterator[Finding]:
    import shutil

    from celo.cli.zoo_entries import size_text
    from celo.files import cache_dir

    root = cache_dir()
    other = "export CELO_CACHE_DIR=FOLDER, with a folder that can be written"
    base = next(path for path in (root, *root.parents) if path.exists())
    if not base.is_dir():
        yield Finding("folder", "broken", f"{base} is not a folder", other)
        return
    if not os.access(base, os.W_OK | os.X_OK):
        yield Finding("folder", "broken", f"{base} cannot be written", other)
    else:
        state = "" if root.exists() else " (made on first use)"
        yield Finding("folder", "ok", f"{root}{state}")
    free = shutil.disk_usage(base).free
    few = free < _MIN_FREE_BYTES
    fix = f"free some space, or {other}" if few else None
    yield Finding("disk", "broken" if few else "ok", f"{size_text(free)} free", fix)
    for folder in sorted(path for path in root.glob("*") if path.is_dir()):
        sizes = []
        for path in folder.rglob("*"):
            with contextlib.suppress(OSError):  # removed since it was listed
                sizes += [path.stat().st_size] if path.is_file() else []
        yield Finding(folder.name, "ok", f"{size_text(sum(sizes))} in {len(sizes)} files")


def _data() -> Iterator[Finding]:
    from celo import registry
    from celo.data import sources
    from celo.data.selection import DataSelection
    from celo.errors import DataError

    for entry in registry.data_sets():
        try:
            state = sources.describe(entry.name, DataSelection())
        except DataError as error:
            fix = error.hint or f"celo data verify {entry.name}"
            yield Finding(entry.name, "broken", error.message, fix)
            continue
        if state.missing is None:
            yield Finding(entry.name, "ok", ", ".join(filter(None, [state.label, state.location])))
        else:
            fix = f"{state.hint}; or celo eval --data {entry.name}=synthetic"
            yield Finding(entry.name, "absent", "not on this machine", fix)


def _weights() -> Iterator[Finding]:
    from celo.cli.zoo_entries import state_of
    from celo_zoo import bundled_names, entries

    for name, card in entries().items():
        state = state_of(name, card)
        if state["problem"] is None and state["path"]:
            found = f"{state['location']}, {state['status']}, {state['path']}"
            yield Finding(name, "ok", found)
        elif state["problem"] is None:
            stand_in = f"; bundled:{name} stands in" if name in bundled_names() else ""
            detail = f"not on this machine{stand_in}"
            yield Finding(name, "absent", detail, f"celo zoo pull {name}")
        else:
            fix = {
                "cache": f"celo zoo pull {name} --force",
                "bundled": f"{_pip()} install --force-reinstall celo",
            }.get(state["location"], "unset CELO_ZOO_PATH")
            yield Finding(name, "broken", state["problem"].splitlines()[0], fix)


def _plugins() -> Iterator[Finding]:
    from celo import registry

    for what in ("optimizers", "tasks", "suites", "data_sets", "metrics"):
        try:
            group = getattr(registry, what)()
        except (Exception, SystemExit) as error:
            yield Finding(what, "broken", _one_line(error), "unset CELO_STRICT_PLUGINS")
            continue
        counts = Counter(f"{e.origin.distribution} {e.origin.version}" for e in group)
        found = ", ".join(f"{number} of {owner}" for owner, number in sorted(counts.items()))
        yield Finding(what, "ok", found or "none")
        for entry in group.shadowed:
            full = entry.under_full_name().name
            yield Finding(entry.name, "ok", f"another package has this name; use {full}")
        for bad in group.broken:
            owner = bad.origin.distribution
            detail = f"{bad.reason} ({owner} {bad.origin.version}, one of its {what})"
            fix = f"{_pip()} install --upgrade {owner}, or {_pip()} uninstall {owner}"
            yield Finding(bad.name, "broken", detail, fix)


def _network() -> Iterator[Finding]:
    import threading
    import urllib.parse

    from celo_zoo import is_offline

    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    parts = urllib.parse.urlsplit(endpoint)
    # Without what may stand before an @: a password is neither shown nor needed to knock.
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if is_offline():
        fix = "unset HF_HUB_OFFLINE TRANSFORMERS_OFFLINE"
        yield Finding(shown, "absent", "offline mode, nothing was tried", fix)
        return
    if parts.scheme not in ("http", "https") or not parts.hostname:
        yield Finding("hub", "broken", "HF_ENDPOINT is no URL", "unset HF_ENDPOINT")
        return
    answers: list[str] = []
    # In a thread, because a look-up of a name knows no time limit.
    thread = threading.Thread(target=_knock, args=(shown, answers), daemon=True)
    thread.start()
    thread.join(NETWORK_SECONDS)
    answer = answers[0] if answers else f"no answer within {NETWORK_SECONDS:g} s"
    if answer:
        fix = "check network and proxy (HTTPS_PROXY), or export HF_HUB_OFFLINE=1 to work without"
        yield Finding(shown, "broken", answer, fix)
    else:
        yield Finding(shown, "ok", "answers")


def _knock(endpoint: str, answers: list[str]) -> None:
    """Appends "" if anything answers there, else why not."""
    import urllib.error
    import urllib.request

    request = urllib.request.Request(endpoint, method="HEAD", headers={"User-Agent": "celo-doctor"})
    try:
        with urllib.request.urlopen(request, timeout=NETWORK_SECONDS):
            answers.append("")
    except urllib.error.HTTPError as error:
        with error:  # whoever refuses can be reached
            answers.append("" if error.code < 500 else f"status {error.code}")
    except Exception as error:
        answers.append(f"cannot be reached: {_one_line(error)}")


def _environment() -> Iterator[Finding]:
    import difflib

    for name in sorted(name for name in os.environ if name.startswith("CELO_")):
        if name in _VARIABLES:
            detail = f"{os.environ[name] or '(empty)'} ({_VARIABLES[name]})"
            yield Finding(name, "ok", detail)
        else:
            near = difflib.get_close_matches(name, _VARIABLES, n=1)
            detail = f"unknown, it does nothing{f'; {near[0]} was meant?' if near else ''}"
            yield Finding(name, "broken", detail, f"unset {name}")
    for name in _OTHER_VARIABLES:
        if name in os.environ:
            # The endpoint is shown, without its password, by the network check.
            value = "set" if name == "HF_ENDPOINT" else os.environ[name] or "(empty)"
            yield Finding(name, "ok", value)
    if os.environ.get("HF_TOKEN"):
        yield Finding("HF_TOKEN", "ok", "set (not shown)")


AREAS: dict[str, Callable[[], Iterator[Finding]]] = {
    "versions": _versions,
    "devices": _devices,
    "cache": _cache,
    "data": _data,
    "weights": _weights,
    "plugins": _plugins,
    "network": _network,
    "environment": _environment,
}


def _print(found: dict[str, list[Finding]]) -> None:
    import shutil

    width = min(shutil.get_terminal_size().columns, 100)
    for area, findings in found.items():
        click.echo(area)
        for f in findings:
            click.echo(_wrapped(f"  {f.status:<6}  ", f"{f.name}: {f.detail}", width))
            if f.fix:
                click.echo(_wrapped("          -> ", f.fix, width))


def _wrapped(head: str, text: str, width: int) -> str:
    import textwrap

    # A path longer than the line stays whole: it is there to be copied.
    return textwrap.fill(
        text,
        width,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _one_line(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


def _pip() -> str:
    return f"{sys.executable} -m pip"
