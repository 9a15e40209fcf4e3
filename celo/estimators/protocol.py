"""What estimators of meta-gradients are given and what they return.

A *problem* is a number of independent particles: inner training runs that go on for ever, each
with states of its own, started again whenever an unroll ends. Its methods speak of one particle and
are pure; an estimator maps them over particles and over the two signs of an antithetic pair. A toy
problem is three short functions; the training of networks is `celo.metatrain.inner`.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import jax

from celo.protocol import PRNGKey, PyTree, state_record


@state_record
class StepOutput:
    """What one step of one particle reports.

    Attributes:
      loss: float32 (); the step's contribution to the meta-loss.
      mask: bool (); False where the step trained nothing (it started an unroll).
      done: bool (); an unroll ended with this step.
    """

    loss: jax.Array
    mask: jax.Array
    done: jax.Array


class Draws(NamedTuple):
    """Everything random that a particle sees in a window; both signs of a pair see the same.

    Attributes:
      constants: a tree that every step of the window may use.
      steps: a tree whose leaves have a leading axis of steps, or None.
    """

    constants: PyTree
    steps: PyTree


class Problem(Protocol):
    """Particles whose losses depend on theta. `particle` is an int32 scalar, their number."""

    @property
    def particles(self) -> int: ...

    def init(self, theta: PyTree, key: PRNGKey, particle: jax.Array) -> PyTree:
        """The state of a particle before its first step."""
        ...

    def draw(self, key: PRNGKey, particle: jax.Array, steps: int) -> Draws:
        """Draws what a particle sees in a window of so many steps (static)."""
        ...

    def step(
        self, theta: PyTree, state: PyTree, constants: PyTree, inputs: PyTree
    ) -> tuple[PyTree, StepOutput]:
        """One step: training with the optimizer of this theta, or the start of an unroll.

        Args:
          theta: may differ from window to window.
          state: of the particle.
          constants: `Draws.constants`.
          inputs: the step's slice of `Draws.steps`.
        """
        ...


class CompleteProblem(Problem, Protocol):
    """A problem whose unrolls can also be run from beginning to end."""

    def sample_length(self, key: PRNGKey) -> jax.Array:
        """Length of an unroll, int32 scalar."""
        ...

    def begin(self, theta: PyTree, key: PRNGKey, particle: jax.Array, length: jax.Array) -> PyTree:
        """The state at the start of an unroll of this length, which no step ends."""
        ...

    def final_loss(
        self, theta: PyTree, state: PyTree, key: PRNGKey, particle: jax.Array, samples: int
    ) -> jax.Array:
        """Mean loss over so many fresh batches at the parameters of a state."""
        ...


@state_record
class Estimate:
    """A meta-gradient and what is known of it.

    Attributes:
      gradient: tree like theta.
      losses: float32 (particles,), each particle's mean loss over the window and both signs.
      delta: float32 (), mean over particles of the absolute difference of the two signs' means.
    """

    gradient: PyTree
    losses: jax.Array
    delta: jax.Array


class Estimator(Protocol):
    """Estimates the gradient of the mean loss with respect to theta, window by window."""

    def init(self, problem: Any, theta: PyTree, key: PRNGKey) -> PyTree:
        """The state before the first window; leaves have a leading axis of particles."""
        ...

    def estimate(
        self, problem: Any, theta: PyTree, state: PyTree, key: PRNGKey, iteration: jax.Array
    ) -> tuple[Estimate, PyTree]:
        """One estimate; may be traced, and must not look at the values of arrays in Python.

        Args:
          problem: what to run.
          theta: the meta-parameters.
          state: from `init` or the last `estimate`.
          key: PRNG key of this call.
          iteration: int32 scalar, outer steps done; for schedules.
        """
        ...


def steps_of_estimate(estimator: Any, problem: Any) -> float:
    """Inner training steps that one estimate takes, both signs counted; NaN if it does not say."""
    steps = getattr(estimator, "inner_steps", None)
    return float("nan") if steps is None else float(steps(problem))
