"""How the suite compiles: its programs run a few times on a few hundred numbers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax

# Compiling takes a quarter of the time with these, on the CPU.
_FAST: dict[str, Any] = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
}


def compiled(function: Callable[..., Any], **kwargs: Any) -> Callable[..., Any]:
    """`jax.jit` that compiles fast and runs slowly."""
    return jax.jit(function, compiler_options=_known_options(), **kwargs)


@functools.cache
def _known_options() -> dict[str, Any]:
    """Those of the options that this version of XLA has: they are nobody's promise."""
    return {name: value for name, value in _FAST.items() if _is_known(name, value)}


def _is_known(name: str, value: Any) -> bool:
    try:
        jax.jit(lambda x: x, compiler_options={name: value}).lower(0.0).compile()
    except Exception:
        return False
    return True
