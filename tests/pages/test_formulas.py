"""The mathematics on the pages of hand-crafted optimizers, written out in numpy, line by line.

One leaf of rank 2 and one of rank 1, updates that differ, float64 against the optimizer itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import celo
from celo import registry

Array = np.ndarray
# Given the first parameters, then gradients one by one; yields parameters.
Run = Iterator[Array]
STEPS = 7
_RANDOM = np.random.default_rng(0)
PARAMS = {"w": _RANDOM.normal(size=(3, 4)), "b": _RANDOM.normal(size=(5,))}
GRADS = [{k: _RANDOM.normal(size=v.shape) for k, v in PARAMS.items()} for _ in range(STEPS)]


def _norm(x: Array) -> Any:
    return np.sqrt(np.sum(x**2))


def _rms(x: Array) -> Any:
    return np.sqrt(np.mean(x**2))


def sgd(p: Array, gs: list[Array]) -> Run:
    for g in gs:
        p = p - 0.1 * g
        yield p


def sgdm(p: Array, gs: list[Array], nesterov: bool = False) -> Run:
    b = 0 * p
    for g in gs:
        b = g + 0.9 * b
        p = p - 0.1 * (g + 0.9 * b if nesterov else b)
        yield p


def adam_moments(gs: list[Array], b1: float = 0.9, b2: float = 0.999) -> Iterator[Any]:
    m = v = 0 * gs[0]
    for t, g in enumerate(gs, 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        yield m / (1 - b1**t), v / (1 - b2**t)


def adam(p: Array, gs: list[Array]) -> Run:
    for m, v in adam_moments(gs):
        p = p - 0.1 * m / (np.sqrt(v + 0.01) + 0.1)
        yield p


def adamw(p: Array, gs: list[Array]) -> Run:
    for m, v in adam_moments(gs):
        p = p - 0.1 * (m / (np.sqrt(v + 0.01) + 0.1) + 0.2 * p)
        yield p


def rmsprop(p: Array, gs: list[Array], nesterov: bool = False) -> Run:
    v = b = 0 * p
    for g in gs:
        v = 0.9 * v + 0.1 * g**2
        u = 0.1 * g / np.sqrt(v + 0.1)
        b = u + 0.5 * b
        p = p - (u + 0.5 * b if nesterov else b)
        yield p


def adagrad(p: Array, gs: list[Array]) -> Run:
    v = 0 * p + 0.1
    for g in gs:
        v = v + g**2
        p = p - 0.1 * g / np.sqrt(v + 0.1)
        yield p


def sm3(p: Array, gs: list[Array]) -> Run:
    slices = [0 * p for _ in range(p.ndim)]  # a_k, spread over its slice
    b = 0 * p
    for g in gs:
        v = np.minimum.reduce(slices) + g**2
        b = 0.9 * b + 0.1 * g / np.sqrt(v + 0.1)
        p = p - 0.1 * b
        for axis in range(p.ndim):
            others = tuple(a for a in range(p.ndim) if a != axis)
            slices[axis] = np.max(v, axis=others, keepdims=True) + 0 * p
        yield p


def adabelief(p: Array, gs: list[Array]) -> Run:
    m = v = 0 * p
    for t, g in enumerate(gs, 1):
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * (g - m) ** 2 + 0.01
        p = p - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 0.1)
        yield p


def yogi(p: Array, gs: list[Array]) -> Run:
    m = v = 0 * p + 1e-6
    for t, g in enumerate(gs, 1):
        m = 0.9 * m + 0.1 * g
        v = v - 0.001 * np.sign(v - g**2) * g**2
        p = p - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 0.1)
        yield p


def radam(p: Array, gs: list[Array]) -> Run:
    w = 2 / (1 - 0.999) - 1
    for t, (m, v) in enumerate(adam_moments(gs), 1):
        h = w - 2 * t * 0.999**t / (1 - 0.999**t)
        if h >= 5:
            r = np.sqrt((h - 4) * (h - 2) * w / ((w - 4) * (w - 2) * h))
            p = p - 0.1 * r * m / (np.sqrt(v + 0.01) + 0.1)
        else:
            p = p - 0.1 * m
        yield p


def adafactor(p: Array, gs: list[Array]) -> Run:
    r = c = v = b = 0.0
    for t, g in enumerate(gs, 1):
        d = 1 - t**-0.8
        if p.ndim == 2:
            r = d * r + (1 - d) * np.mean(g**2 + 0.01, axis=1, keepdims=True)
            c = d * c + (1 - d) * np.mean(g**2 + 0.01, axis=0, keepdims=True)
            u = g / np.sqrt(r * c / np.mean(r))
        else:
            v = d * v + (1 - d) * (g**2 + 0.01)
            u = g / np.sqrt(v)
        u = u / max(1, _rms(u) / 0.5)
        b = 0.5 * b + 0.5 * 0.1 * max(_rms(p), 1e-3) * u
        p = p - b - 0.01 * p
        yield p


def fromage(p: Array, gs: list[Array]) -> Run:
    for g in gs:
        u = g * max(_norm(p), 1e-6) / max(_norm(g), 1e-6)
        p = (p - 0.1 * u) / np.sqrt(1 + 0.1**2)
        yield p


def lars(p: Array, gs: list[Array], nesterov: bool = False) -> Run:
    b = 0 * p
    for g in gs:
        g = g + 0.2 * p
        u = 0.1 * g * 0.5 * _norm(p) / (_norm(g) + 0.1)
        b = u + 0.9 * b
        p = p - (u + 0.9 * b if nesterov else b)
        yield p


def lamb(p: Array, gs: list[Array]) -> Run:
    for m, v in adam_moments(gs):
        u = m / (np.sqrt(v + 0.01) + 0.1) + 0.2 * p
        p = p - 0.1 * u * _norm(p) / _norm(u)
        yield p


def muon(p: Array, gs: list[Array]) -> Run:
    m = v = 0 * p
    for t, g in enumerate(gs, 1):
        m = 0.9 * m + 0.1 * g
        x = 0.9 * m / (1 - 0.9 ** (t + 1)) + 0.1 * g / (1 - 0.9**t)
        if p.ndim == 2:
            x = x / (_norm(x) + 0.1)
            for _ in range(5):
                a = x @ x.T
                x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
            p = p - 0.1 * (np.sqrt(max(1, p.shape[1] / p.shape[0])) * x + 0.2 * p)
        else:
            v = 0.999 * v + 0.001 * g**2
            p = p - 0.1 * x / (np.sqrt(v / (1 - 0.999**t)) + 0.1)
        yield p


def lion(p: Array, gs: list[Array]) -> Run:
    m = 0 * p
    for g in gs:
        p = p - 0.1 * (np.sign(0.9 * m + 0.1 * g) + 0.2 * p)
        m = 0.99 * m + 0.01 * g
        yield p


def schedule_free_adamw(p: Array, gs: list[Array]) -> Run:
    x = y = z = p
    v = 0 * p
    for t, g in enumerate(gs, 1):
        v = 0.999 * v + 0.001 * g**2
        z = z - 0.1 * (g / (np.sqrt(v / (1 - 0.999**t)) + 0.1) + 0.2 * y)
        c = 1 / t  # equal weights under a constant rate
        x = (1 - c) * x + c * z
        y = 0.9 * x + 0.1 * z
        yield y


def prodigy(p: Array, gs: list[Array]) -> Run:
    m = v = s = 0 * p
    first, d, d0, a, b3 = p, 0.1, 0.1, 0.0, np.sqrt(0.999)
    for t, g in enumerate(gs, 1):
        e = 1.0 * d * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        m = 0.9 * m + 0.1 * d * g
        v = 0.999 * v + 0.001 * d**2 * g**2
        s = b3 * s + e * d / d0 * g
        a = b3 * a + e * d / d0 * np.sum(g * (first - p))
        d = max(d, a / np.sum(np.abs(s)))
        p = p - e * m / (np.sqrt(v) + d * 0.1) - e * 0.2 * p
        yield p


def nadamw(p: Array, gs: list[Array]) -> Run:
    m = v = 0 * p
    for t, g in enumerate(gs, 1):
        g = g - 0.05 * p
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        rate = 0.1 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        u = 0.9 * m + 0.1 * g
        p = p - rate * (u / (np.sqrt(v) + 0.1) + 0.2 * p)
        yield p


def shampoo(p: Array, gs: list[Array]) -> Run:
    """Small leaves are vectors: one block, one axis."""
    shape, p = p.shape, p.reshape(-1)
    s = 0.01 * np.eye(p.size)
    bh = bu = 0 * p
    for t, g in enumerate(gs):
        g = g.reshape(-1)
        s = 0.99 * s + 0.01 * np.outer(g, g)
        ridge = 0.01 * max(np.linalg.eigvalsh(s)[-1], 0.01)
        values, vectors = np.linalg.eigh(s + ridge * np.eye(p.size))
        h = (vectors / np.sqrt(values)) @ vectors.T @ g
        h = h * _norm(g) / _norm(h)
        h, u = h + 0.2 * p, g + 0.2 * p
        bh, bu = 0.9 * bh + h, 0.9 * bu + u
        p = p - 0.1 * (h + 0.9 * bh if t >= 5 else u + 0.9 * bu)
        yield p.reshape(shape)


EPS = "lr=0.1,eps=0.1"
CASES: dict[str, Callable[..., Run]] = {
    "sgd:lr=0.1": sgd,
    "sgdm:lr=0.1": sgdm,
    "sgdm:lr=0.1,nesterov=true": lambda p, gs: sgdm(p, gs, nesterov=True),
    f"adam:{EPS},eps_root=0.01": adam,
    f"adamw:{EPS},eps_root=0.01,weight_decay=0.2": adamw,
    f"rmsprop:{EPS},momentum=0.5": rmsprop,
    f"rmsprop:{EPS},momentum=0.5,nesterov=true": lambda p, gs: rmsprop(p, gs, nesterov=True),
    f"adagrad:{EPS}": adagrad,
    f"sm3:{EPS}": sm3,
    f"adabelief:{EPS},eps_root=0.01": adabelief,
    f"yogi:{EPS}": yogi,
    f"radam:{EPS},eps_root=0.01": radam,
    "adafactor:lr=0.1,eps=0.01,min_dim_size_to_factor=3,momentum=0.5,weight_decay_rate=0.01,"
    "clipping_threshold=0.5": adafactor,
    "fromage:lr=0.1": fromage,
    f"lars:{EPS},weight_decay=0.2,trust_coefficient=0.5": lars,
    f"lars:{EPS},weight_decay=0.2,trust_coefficient=0.5,nesterov=true": lambda p, gs: lars(
        p, gs, nesterov=True
    ),
    f"lamb:{EPS},eps_root=0.01,weight_decay=0.2": lamb,
    f"muon:{EPS},beta=0.9,weight_decay=0.2": muon,
    "lion:lr=0.1,weight_decay=0.2": lion,
    f"schedule-free-adamw:{EPS},weight_decay=0.2": schedule_free_adamw,
    "prodigy:lr=1.0,eps=0.1,estim_lr0=0.1,weight_decay=0.2": prodigy,
    "nadamw:lr=0.1,epsilon=0.1,adamw_weight_decay=0.2,l2_weight_decay=0.05": nadamw,
    "shampoo:lr=0.1,b2=0.99,weight_decay=0.2,matrix_epsilon=0.01": shampoo,
}
# Its formulas are nadamw's, with settings from a table.
WITHOUT = {"optlist"}


def test_every_hand_crafted_optimizer_is_here() -> None:
    tested = {text.partition(":")[0] for text in CASES} | WITHOUT
    ours = [f for f in registry.optimizers() if f.origin.distribution == registry.FIRST_PARTY]
    assert {f.name for f in ours if f.record.kind == "hand-crafted"} == tested


@pytest.mark.parametrize("text", CASES)
def test_formulas_are_what_is_computed(text: str) -> None:
    optimizer = celo.load(text)
    for name, first in PARAMS.items():
        grads = [grad[name] for grad in GRADS]

        def step(state: Any, grad: Any) -> tuple[Any, Any]:
            new = optimizer.update(state, {"leaf": grad})
            return new, optimizer.get_params(new)["leaf"]

        state = optimizer.init({"leaf": jnp.asarray(first, jnp.float32)}, num_steps=STEPS)
        _, found = jax.lax.scan(step, state, jnp.asarray(np.stack(grads), jnp.float32))
        want = np.stack(list(CASES[text](first, grads)))
        np.testing.assert_allclose(found, want, rtol=2e-4, atol=2e-5, err_msg=name)
