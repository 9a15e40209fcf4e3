"""Optimizers of google/learned_optimization as `lo:NAME`: records made from its classes.

NAME is the name of a class (`lo:SGDM`, `lo:AdafacMLPLOpt`), in any spelling that differs in case or
in `-` for `_` only. What a text can say of its constructor (numbers, true or false, words) is
a hyperparameter, `learning_rate` under the name `lr`. A learned optimizer takes weights behind `@`
like ours. As for optax there are no tuning grids: what runs is what is asked for.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib
import importlib.metadata
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterable
from typing import Any, Literal

import jax

from celo.errors import BrokenPluginError, UnknownNameError, UsageError
from celo.guard import silent_stdout
from celo.optim.optax_catalogue import REQUIRED, our_name
from celo.protocol import (
    LearnedOptimizer,
    MetaParams,
    ModelState,
    Optimizer,
    Params,
    PRNGKey,
    PyTree,
)
from celo.records import Hyperparameter, OptimizerPlugin, canonical_name
from celo.trees import cast_like

SOURCE = "lo"
PACKAGE = "learned_optimization"

_OPTIMIZERS = ("optimizers", "learned_optimizers", "research.general_lopt.hyper_v2")
# It stretches a table of hyperparameters over the run; the others ignore its length.
_READS_NUM_STEPS = ("OptList",)


@functools.cache
def version() -> str:
    """The installed version and a hash of its files: its version number has never changed."""
    try:
        distribution = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
    files = sorted(re.findall(r"^.*\.py,sha256=.*$", distribution.read_text("RECORD") or "", re.M))
    return f"{distribution.version}+{hashlib.sha256(chr(10).join(files).encode()).hexdigest()[:12]}"


def imported(name: str) -> Any:
    """A module of the package, without what its import prints.

    Args:
      name: behind `learned_optimization.`; empty for the package.

    Raises:
      UsageError: the package is not installed.
      BrokenPluginError: the module cannot be imported.
    """
    try:
        with silent_stdout():
            return importlib.import_module(f"{PACKAGE}.{name}" if name else PACKAGE)
    except ImportError as error:
        if error.name == PACKAGE:
            raise UsageError(
                f"{SOURCE}: stands for learned_optimization, which is not installed",
                hint="pip install git+https://github.com/google/learned_optimization (what the "
                "package index has under this name is of 2021 and too old for this JAX)",
            ) from None
        raise BrokenPluginError(
            f"{PACKAGE}.{name} cannot be imported: {error}",
            hint=f"install {error.name}" if error.name else None,
        ) from error


def members(
    rooms: Iterable[str], wanted: Callable[[Any], bool]
) -> tuple[dict[str, Any], dict[str, str]]:
    """What the modules of some of its packages define.

    Args:
      rooms: modules and packages, behind `learned_optimization.`; a package stands for its modules.
      wanted: whether a member counts.

    Returns:
      (exact name -> member, module that cannot be imported -> why).

    Raises:
      UsageError: learned_optimization is not installed.
    """
    imported("")
    found: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for room in rooms:
        for name in _modules(room, failed):
            try:
                module = imported(name)
            except Exception as error:  # theirs may need whatever they like
                failed[name] = str(getattr(error, "message", error)).split(": ")[-1]
                continue
            for key, value in vars(module).items():
                if getattr(value, "__module__", None) == module.__name__ and wanted(value):
                    found.setdefault(key, value)
    return {key: value for key, value in found.items() if not key.startswith("_")}, failed


def _modules(room: str, failed: dict[str, str]) -> list[str]:
    try:
        package = imported(room)
    except BrokenPluginError as error:
        failed[room] = error.message.split(": ")[-1]
        return []
    inner = [m.name for m in pkgutil.iter_modules(getattr(package, "__path__", ()))]
    return [f"{room}.{name}" for name in inner if not name.endswith("_test")] or [room]


def pick(what: str, name: str, found: dict[str, Any], failed: dict[str, str]) -> str:
    """The exact name of what a text means.

    Raises:
      UnknownNameError: nothing has this name; the nearest ones are in the hint.
    """
    by_name = {canonical_name(key): key for key in found}
    if canonical_name(name) in by_name:
        return by_name[canonical_name(name)]
    near = difflib.get_close_matches(canonical_name(name), by_name, n=3, cutoff=0.5)
    hint = f"known: {', '.join(sorted(found))}"
    if near:
        hint = f"did you mean {' or '.join(f'{SOURCE}:{by_name[n]}' for n in near)}?"
    if failed:
        lost = "; ".join(f"{module} ({reason})" for module, reason in failed.items())
        hint += f" These of its modules cannot be imported here: {lost}."
    raise UnknownNameError(
        f"unknown {what} '{SOURCE}:{name}': {PACKAGE} has none of this name", hint=hint
    )


def record(name: str) -> OptimizerPlugin:
    """The record of one of its optimizers, learned or hand-crafted.

    Raises:
      UnknownNameError: it has none of this name.
      UsageError: it is not installed, or the optimizer is made of something no text can say.
      BrokenPluginError: it cannot be imported.
    """
    exact = pick("optimizer", name, *_optimizers())
    cls = _optimizers()[0][exact]
    learned = _is_learned(cls)
    reads: tuple[Literal["num_steps", "loss"], ...] = ()
    if learned or exact in _READS_NUM_STEPS:
        reads = ("num_steps", "loss") if learned else ("num_steps",)
    summary = (inspect.getdoc(cls) or exact).splitlines()[0].rstrip(".")
    return OptimizerPlugin(
        name=canonical_name(exact),
        kind="learned" if learned else "hand-crafted",
        summary=summary,
        build=f"{__name__}:{exact}",
        citation=f"{cls.__module__}.{exact} {version()}",
        hyperparameters=_hyperparameters(cls),
        reads=reads,
    )


def __getattr__(name: str) -> Callable[..., Any]:
    """The `build` of an optimizer, which records name as `celo.interop...:NAME`."""
    if name.startswith("_") or name not in _optimizers()[0]:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    cls = _optimizers()[0][name]
    rate = "learning_rate" in inspect.signature(cls).parameters

    def build(**values: Any) -> Optimizer | LearnedOptimizer:
        if rate and "lr" in values:
            values["learning_rate"] = values.pop("lr")
        made = cls(**values)
        label = f"{SOURCE}:{canonical_name(name)}"
        return _Learned(made, label) if _is_learned(cls) else _Adapted(made, label)

    return build


@functools.cache
def _optimizers() -> tuple[dict[str, Any], dict[str, str]]:
    bases = _bases()

    def wanted(value: Any) -> bool:
        return inspect.isclass(value) and issubclass(value, bases) and value not in bases

    return members(_OPTIMIZERS, wanted)


def _bases() -> tuple[type, type]:
    return imported("optimizers.base").Optimizer, imported(
        "learned_optimizers.base"
    ).LearnedOptimizer


def _is_learned(cls: type) -> bool:
    return issubclass(cls, _bases()[1])


def _hyperparameters(cls: type) -> tuple[Hyperparameter, ...]:
    """What a text can say of a class's constructor, in its own order.

    Raises:
      UsageError: a parameter without default is none of it.
    """
    found = []
    for parameter in inspect.signature(cls).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        required = parameter.default is inspect.Parameter.empty
        kind = _kind(parameter)
        if kind is not None:
            found.append(
                Hyperparameter(
                    name=our_name(parameter.name),
                    type=kind,
                    default=REQUIRED if required else parameter.default,
                    help=f"learned_optimization's {parameter.name}",
                )
            )
        elif required:
            raise UsageError(
                f"{SOURCE}:{cls.__name__} cannot be used here: its {parameter.name} is nothing "
                "that a text can say",
                hint="build it in Python: its optimizers and tasks work where ours do",
            )
    return tuple(found)


_KINDS: dict[type, Literal["float", "int", "bool", "str"]] = {
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
}


_UNANNOTATED: dict[str, Literal["float", "int"]] = {"learning_rate": "float", "idx": "int"}
"""Required parameters whose type it does not say."""


def _kind(parameter: inspect.Parameter) -> Literal["float", "int", "bool", "str"] | None:
    if parameter.default is not inspect.Parameter.empty:
        return _KINDS.get(type(parameter.default))
    return _KINDS.get(parameter.annotation) or _UNANNOTATED.get(parameter.name)


class _Adapted(Optimizer):
    """One of theirs behind our contract: every keyword accepted, the state of one type."""

    def __init__(self, optimizer: Any, label: str):
        self._optimizer = optimizer
        self._label = label

    @property
    def name(self) -> str:
        return self._label

    def init(
        self,
        params: Params,
        model_state: ModelState = None,
        num_steps: Any = None,
        key: PRNGKey | None = None,
        **kwargs: Any,
    ) -> PyTree:
        known = {"model_state": model_state, "num_steps": num_steps, "key": key}
        state = self._optimizer.init(params, **_accepted(self._optimizer.init, known))
        return cast_like(state, state)

    def update(
        self,
        opt_state: PyTree,
        grad: Params,
        loss: Any = None,
        model_state: ModelState = None,
        key: PRNGKey | None = None,
        is_valid: Any = False,
        **kwargs: Any,
    ) -> PyTree:
        if key is None:  # some of theirs split it whether they use it or not
            key = jax.random.fold_in(jax.random.PRNGKey(0), opt_state.iteration)
        known = {"loss": loss, "model_state": model_state, "key": key, "is_valid": is_valid}
        accepted = _accepted(self._optimizer.update, known)
        new = self._optimizer.update(opt_state, grad, **accepted)
        return cast_like(new, opt_state, f"the new state of {self._label}")

    def get_params(self, opt_state: PyTree) -> Params:
        return self._optimizer.get_params(opt_state)

    def get_state(self, opt_state: PyTree) -> ModelState:
        return self._optimizer.get_state(opt_state)

    def set_params(self, opt_state: PyTree, params: Params) -> PyTree:
        return self._optimizer.set_params(opt_state, params)


class _Learned(LearnedOptimizer):
    def __init__(self, lopt: Any, label: str):
        self._lopt = lopt
        self._label = label

    @property
    def name(self) -> str:
        return self._label

    def init(self, key: PRNGKey) -> MetaParams:
        return self._lopt.init(key)

    def opt_fn(self, theta: MetaParams, is_training: bool = False) -> Optimizer:
        return _Adapted(self._lopt.opt_fn(theta, is_training=is_training), self._label)


def _accepted(function: Callable[..., Any], values: dict[str, Any]) -> dict[str, Any]:
    """Of some keywords those that a function has by name; theirs do not all take the others."""
    return {k: v for k, v in values.items() if k in inspect.signature(function).parameters}
