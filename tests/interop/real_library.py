"""Checks against the real learned_optimization: run as a script, in an environment that has it.

    python -m tests.interop.real_library CHECK...

Prints one JSON object: name of the check -> null, or the traceback of its failure. One process for
all of them, because the library and JAX take long to start.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from typing import Any

CHECKS: dict[str, Callable[[], None]] = {}
SLOW: set[str] = set()


def check(function: Callable[[], None]) -> Callable[[], None]:
    CHECKS[function.__name__] = function
    return function


def slow(function: Callable[[], None]) -> Callable[[], None]:
    SLOW.add(function.__name__)
    return check(function)


def _curves(task: Any, optimizer: Any, steps: int = 4) -> dict[str, Any]:
    import jax
    from learned_optimization import eval_training

    return dict(
        eval_training.single_task_training_curves(
            task,
            optimizer,
            num_steps=steps,
            key=jax.random.PRNGKey(1),
            eval_every=2,
            eval_batches=1,
            last_eval_batches=1,
        )
    )


def _assert_same_curves(mine: dict[str, Any], theirs: dict[str, Any], rtol: float) -> None:
    import numpy as np

    assert mine.keys() == theirs.keys()
    assert mine["train/loss"].shape == (5,) and mine["eval/test/loss"].shape == (3,)
    for name, curve in theirs.items():
        np.testing.assert_allclose(mine[name], curve, rtol=rtol, err_msg=name)


@check
def ours_in_their_training_loop() -> None:
    from learned_optimization.learned_optimizers.adafac_mlp_lopt import AdafacMLPLOpt
    from learned_optimization.optimizers.optax_opts import SGDM
    from learned_optimization.tasks.quadratics import QuadraticTask

    import celo
    from celo.interop.conversion import convert_theta

    task = QuadraticTask()
    mine = _curves(task, celo.load("sgdm:lr=0.05"))
    assert mine["train/loss"][-1] < mine["train/loss"][0]
    _assert_same_curves(mine, _curves(task, SGDM(0.05)), rtol=1e-6)
    lopt, theta = celo.load_learned("adafac-mlp-lopt@random:3")
    learned = AdafacMLPLOpt()
    _assert_same_curves(
        _curves(task, lopt.opt_fn(theta)),
        _curves(task, learned.opt_fn(convert_theta(theta, learned))),
        rtol=1e-6,
    )


def _meta_train(lopt: Any, updates: int = 2) -> tuple[list[float], Any, Any]:
    """Meta-losses, theta before and theta after some updates by their truncated PES."""
    import jax
    from learned_optimization.optimizers.optax_opts import Adam
    from learned_optimization.outer_trainers import (
        gradient_learner,
        lopt_truncated_step,
        truncated_pes,
        truncation_schedule,
    )
    from learned_optimization.tasks import base
    from learned_optimization.tasks.quadratics import QuadraticTask

    family = base.single_task_to_family(QuadraticTask())
    schedule = truncation_schedule.ConstantTruncationSchedule(4)
    step = lopt_truncated_step.VectorizedLOptTruncatedStep(family, lopt, schedule, num_tasks=2)
    estimator = truncated_pes.TruncatedPES(step, trunc_length=2, steps_per_jit=2)
    learner = gradient_learner.SingleMachineGradientLearner(lopt, [estimator], Adam(1e-3))
    state = learner.init(jax.random.PRNGKey(0))
    first = jax.device_get(learner.get_meta_params(state))
    losses = []
    for i in range(updates):
        state, loss, _ = learner.update(state, jax.random.PRNGKey(i))
        losses.append(float(loss))
    return losses, first, jax.device_get(learner.get_meta_params(state))


def _assert_meta_trained(text: str) -> tuple[list[float], Any]:
    import jax
    import numpy as np

    import celo

    losses, first, last = _meta_train(celo.load_learned(text)[0])
    assert np.isfinite(losses).all()
    moved = [
        not np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (first, last)), strict=True)
    ]
    assert any(moved), "their Adam has changed no weight"
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(last))
    return losses, last


@check
def ours_in_their_truncated_pes() -> None:
    import jax
    import numpy as np
    from learned_optimization.learned_optimizers.base import LearnableSGDM

    mine, theta = _assert_meta_trained("learnable-sgdm@random")
    theirs, _, their_theta = _meta_train(LearnableSGDM())
    np.testing.assert_allclose(mine, theirs, rtol=1e-5)
    # Adam moves weights by about 1e-3, by the signs of noisy estimates.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), theta, their_theta)


@slow
def networks_of_ours_in_their_truncated_pes() -> None:
    for text in ("adafac-mlp-lopt@random", "celo@random", "velo-s@random"):
        _assert_meta_trained(text)


def _params() -> Any:
    import jax.numpy as jnp

    # Nothing is symmetric: the sign of a mean that is zero but for rounding is a feature of some.
    return {"b": jnp.linspace(-1.0, 1.7, 3), "w": jnp.linspace(-2.0, 2.5, 12).reshape(4, 3)}


def _step(optimizer: Any, jit: bool) -> Callable[[Any], Any]:
    import jax
    import jax.numpy as jnp

    def loss_fn(params: Any) -> Any:
        return sum(jnp.sum(jnp.cos(leaf) + leaf**2) for leaf in jax.tree.leaves(params))

    def step(state: Any) -> Any:
        loss, grad = jax.value_and_grad(loss_fn)(optimizer.get_params(state))
        return optimizer.update(state, grad, loss=loss, key=jax.random.PRNGKey(0))

    return jax.jit(step) if jit else step


def _assert_interchangeable(mine: Any, theirs: Any, jit: bool = True) -> None:
    """Two updates by ours go on with theirs as they go on with ours, and back again."""
    import jax
    import numpy as np

    from celo.interop.conversion import convert_state

    start = mine.init(_params(), num_steps=10)
    step, their_step = _step(mine, jit), _step(theirs, jit)
    middle = step(step(start))
    abroad = convert_state(middle, theirs)
    native = theirs.init(_params(), num_steps=10)
    assert type(abroad) is type(native) and type(abroad) is not type(middle)
    assert jax.tree.structure(abroad) == jax.tree.structure(native)
    home = convert_state(abroad, mine)
    assert jax.tree.structure(home) == jax.tree.structure(middle)
    jax.tree.map(np.testing.assert_array_equal, home, middle)
    end, their_end = step(step(middle)), their_step(their_step(abroad))
    all_theirs = their_step(their_step(their_step(their_step(native))))
    for got in (their_end, all_theirs):
        got = convert_state(got, mine)
        for path, a, b in zip(
            ["|".join(map(str, p)) for p, _ in jax.tree_util.tree_leaves_with_path(end)],
            jax.tree.leaves(end),
            jax.tree.leaves(got),
            strict=True,
        ):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-7, err_msg=path)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), end.params, start.params)
    assert max(jax.tree.leaves(moved)) > 1e-5, "nothing was trained"


def _assert_learned_interchangeable(text: str, theirs: Any, jit: bool = True) -> None:
    import jax
    import numpy as np

    import celo
    from celo.interop.conversion import convert_theta

    lopt, theta = celo.load_learned(text)
    # Zeros stay zeros in many places of a fresh theta; all weights shall count.
    noise = jax.random.PRNGKey(7)
    theta = jax.tree.map(lambda x: x + 0.05 * jax.random.normal(noise, x.shape), theta)
    abroad = convert_theta(theta, theirs)
    native = jax.eval_shape(theirs.init, jax.random.PRNGKey(0))
    assert jax.tree.structure(abroad) == jax.tree.structure(native)
    home = convert_theta(abroad, lopt)
    assert jax.tree.structure(home) == jax.tree.structure(theta)
    jax.tree.map(np.testing.assert_array_equal, home, theta)
    _assert_interchangeable(lopt.opt_fn(theta), theirs.opt_fn(abroad), jit)


@check
def states_and_numbers_of_handcrafted_optimizers() -> None:
    from learned_optimization.optimizers.nadamw import NAdamW
    from learned_optimization.optimizers.optax_opts import Adam

    import celo

    _assert_interchangeable(celo.load("adam:lr=0.01"), Adam(0.01))
    _assert_interchangeable(celo.load("nadamw:lr=0.01"), NAdamW(0.01))


@check
def states_thetas_and_numbers_of_adafac_mlp() -> None:
    from learned_optimization.learned_optimizers.adafac_mlp_lopt import AdafacMLPLOpt

    _assert_learned_interchangeable("adafac-mlp-lopt@random:1", AdafacMLPLOpt())


@check
def states_thetas_and_numbers_of_velo() -> None:
    from learned_optimization.research.general_lopt.hyper_v2 import HyperV2

    # Theirs has a factor of 100 built in, as the weights of VeLO were trained with.
    velo_s = HyperV2(lstm_hidden_size=64, param_inits=32, use_bugged_loss_features=False)
    _assert_learned_interchangeable("velo-s@random:1:ff_mult=100", velo_s)


@slow
def states_thetas_and_numbers_of_the_others() -> None:
    from learned_optimization.learned_optimizers.base import LearnableAdam
    from learned_optimization.learned_optimizers.mlp_lopt import MLPLOpt
    from learned_optimization.learned_optimizers.nn_adam import NNAdam
    from learned_optimization.learned_optimizers.rnn_mlp_lopt import RNNMLPLOpt

    # Compiled, the first step of theirs is NaN.
    _assert_learned_interchangeable("rnn-mlp-lopt@random:1", RNNMLPLOpt(), jit=False)
    _assert_learned_interchangeable("mlp-lopt@random:1", MLPLOpt())
    _assert_learned_interchangeable("nn-adam@random:1", NNAdam(lstm_hidden_size=64))
    _assert_learned_interchangeable("learnable-adam@random:1", LearnableAdam())


@check
def unlike_states_are_refused() -> None:
    from learned_optimization.optimizers.optax_opts import SGDM

    import celo
    from celo.errors import UsageError
    from celo.interop.conversion import convert_state

    state = celo.load("adam:lr=0.01").init(_params(), num_steps=10)
    try:
        convert_state(state, SGDM())
    except UsageError as error:
        assert "does not fit" in error.message and "optax_opt_state" in error.message
    else:
        raise AssertionError("a state of Adam became one of SGDM")


@check
def theirs_in_our_evaluation() -> None:
    import numpy as np

    import celo
    from celo.interop.learned_optimization import version

    tasks = ("lo:QuadraticTask", "lo:ImageMLP_FashionMnist8_Relu32")
    result = celo.evaluate(
        ("lo:SGDM:learning_rate=0.1", "sgdm:lr=0.1", "lo:AdafacMLPLOpt@random:0"),
        tasks=tasks,
        data="synthetic",
        steps=4,
        seeds=(0,),
        eval_every=2,
        eval_batches=1,
        last_eval_batches=1,
        reference="sgdm:lr=0.1",
    )
    cells = {(cell.key.entry, cell.key.task): cell for cell in result.cells}
    assert result.complete and all(cell.status == "done" for cell in cells.values()), [
        cell.reason for cell in cells.values()
    ]
    for task in tasks:
        mine, theirs = cells["sgdm:lr=0.1", task], cells["lo:sgdm:lr=0.1", task]
        for name, curve in mine.curves.items():
            np.testing.assert_allclose(theirs.curves[name], curve, rtol=1e-5)
        assert theirs.key.distribution == f"learned_optimization=={version()}"
        assert mine.key.distribution == "celo" and theirs.key.numerics[1] > 0
        assert cells["lo:adafacmlplopt@random:0", task].key.weights == "random:0"
    assert cells["sgdm:lr=0.1", tasks[0]].key.data.label == "no data"
    assert cells["sgdm:lr=0.1", tasks[1]].key.data.name == "fashion_mnist"
    assert "+" in version() and len(version().partition("+")[2]) == 12


@check
def their_tasks_are_our_tasks() -> None:
    import jax
    import numpy as np

    import celo

    for name in ("ImageMLP_FashionMnist_Relu128x128", "ImageMLPAE_Mnist_128x32x128_bs128"):
        mine = celo.load_task(name, data="synthetic")
        theirs = celo.load_task(f"lo:{name}", data="synthetic")
        key = jax.random.PRNGKey(0)
        # First, because the init of some of theirs draws a batch.
        batch = next(mine.datasets.train)
        jax.tree.map(np.testing.assert_array_equal, batch, next(theirs.datasets.train))
        params, state = jax.jit(theirs.init_with_state)(key)
        loss, _ = mine.loss_with_state(params, state, key, batch)
        their_loss, _ = theirs.loss_with_state(params, state, key, batch)
        np.testing.assert_allclose(loss, their_loss, rtol=1e-6)
        np.testing.assert_allclose(mine.normalizer(loss), theirs.normalizer(loss), rtol=1e-6)


@check
def every_optimizer_of_theirs_has_a_record_or_a_reason() -> None:
    from celo.errors import UsageError
    from celo.interop import learned_optimization as library
    from celo.records import canonical_name

    usable = set()
    for name in library._optimizers()[0]:
        try:
            record = library.record(name)
        except UsageError as error:
            assert "nothing that a text can say" in error.message, error
            continue
        assert record.name == canonical_name(name) and record.summary
        usable.add(name)
    assert {"Adam", "SGDM", "NAdamW", "OptList", "AdafacMLPLOpt", "HyperV2", "NNAdam"} <= usable
    assert "GradientClipOptimizer" not in usable
    hypers = {h.name: h for h in library.record("hyperv2").hyperparameters}
    assert hypers["lstm_hidden_size"].type == "int" and hypers["mix_layers"].type == "bool"


@check
def what_cannot_run_is_refused_with_a_reason() -> None:
    import celo
    from celo.errors import CeloError

    def refusal(load: Callable[[str], Any], text: str) -> str:
        try:
            load(text)
        except CeloError as error:
            return str(error)
        raise AssertionError(f"{text} was not refused")

    assert "did you mean lo:Adam" in refusal(celo.load, "lo:Adamm:lr=1")
    assert "lo:lamb needs lr" in refusal(celo.load, "lo:Lamb")
    assert "its opt is nothing that a text can say" in refusal(celo.load, "lo:GradientAccumulator")
    assert "'sgdm' has no hyperparameter 'nesterov'" in refusal(celo.load, "lo:SGDM:nesterov=true")
    assert "no published weights" in refusal(celo.load, "lo:AdafacMLPLOpt")
    assert "hand-crafted" in refusal(celo.load, "lo:SGDM@random")
    foreign = f"lo:AdafacMLPLOpt@{os.environ['CELO_EXAMPLE_WEIGHTS']}"
    assert "do not fit lo:adafacmlplopt" in refusal(celo.load, foreign)
    assert "did you mean lo:QuadraticTask" in refusal(celo.load_task, "lo:QuadraticTsk")
    assert "data of its own" in refusal(celo.load_task, "lo:BatchQuadraticTask")
    assert "it takes task" in refusal(celo.load_task, "lo:LOptTask")
    unknown = refusal(celo.load_task, "lo:Conv_Food101_32x64x64")
    assert "unknown data set 'food101'" in unknown or "unknown task" in unknown, unknown


@check
def theirs_in_our_estimators() -> None:
    """Our meta-training of their learned optimizer goes as that of ours with the same rule."""
    import numpy as np

    import celo

    settings: dict[str, Any] = {
        "suite": "digits",
        "iterations": 3,
        "particles": 2,
        "trunc": 4,
        "unroll": "3:7",
        "sigma": 0.1,
        "outer_lr": 0.05,
        "log_every": 1,
    }
    theirs = celo.meta_train("lo:LearnableSGDM", output="theirs", **settings)
    mine = celo.meta_train("learnable-sgdm", output="mine", **settings)
    np.testing.assert_allclose(theirs.losses, mine.losses, rtol=1e-5)
    for name, leaf in mine.theta.items():
        np.testing.assert_allclose(theirs.theta[name], leaf, rtol=1e-4)
    full = celo.meta_train("lo:LearnableSGDM", estimator="full-es", output="full", **settings)
    assert np.isfinite(full.losses).all()


@check
def the_published_example() -> None:
    import jax

    with _images():
        # As in the published README from here on.
        from learned_optimization.tasks.fixed import image_mlp

        from celo.factory import get_optimizer
        from celo.utils import init_lopt_from_ckpt

        key = jax.random.PRNGKey(7)
        task = image_mlp.ImageMLP_FashionMnist_Relu128x128()
        key, key1 = jax.random.split(key)
        params, state = task.init_with_state(key1)
        lopt = get_optimizer("celo")
        opt = init_lopt_from_ckpt(lopt, os.environ["CELO_EXAMPLE_WEIGHTS"])
        num_steps = 6
        opt_state = opt.init(params, model_state=state, num_steps=num_steps)
        loss_and_grad = jax.jit(jax.value_and_grad(task.loss))
        update = jax.jit(lambda s, g, loss: opt.update(s, g, loss=loss))
        losses = []
        for _ in range(num_steps):
            batch = next(task.datasets.train)
            key, key1 = jax.random.split(key)
            loss, grad = loss_and_grad(opt.get_params(opt_state), key1, batch)
            opt_state = update(opt_state, grad, loss)
            losses.append(float(loss))
    assert losses[-1] < losses[0], losses
    # The other form of the calls, and a hand-crafted optimizer.
    adam = get_optimizer("adam")
    adam_state = adam.init(params=params, num_steps=num_steps)
    adam_state = adam.update(adam_state, grad=grad, loss=loss)
    step = jax.tree.map(lambda a, b: abs(a - b).max(), adam.get_params(adam_state), params)
    assert 0.9e-3 < max(map(float, jax.tree.leaves(step))) < 1.1e-3


def _images() -> Any:
    from celo.interop.tasks import our_images

    return our_images("synthetic")


def main(names: list[str]) -> None:
    warnings.simplefilter("ignore")  # theirs; ours are errors in the other tests
    import stubs  # beside the wheel

    stubs.install()
    results: dict[str, str | None] = {}
    stdout, sys.stdout = sys.stdout, sys.stderr
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name in names:
            try:
                CHECKS[name]()
                results[name] = None
            except Exception:
                results[name] = traceback.format_exc()
    json.dump(results, stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
