"""JAX's persistent compilation cache, in our cache folder."""

from __future__ import annotations

import os

from celo.files import cache_dir


def enable_compilation_cache() -> None:
    """Keeps compiled programs between processes, unless the user has chosen for themselves.

    `JAX_COMPILATION_CACHE_DIR` or `JAX_ENABLE_COMPILATION_CACHE` in the environment, or a folder
    set by the program, win. A folder that cannot be written only costs time.
    """
    import jax

    chosen = {"JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"} & os.environ.keys()
    if chosen or getattr(jax.config, "jax_compilation_cache_dir", None):
        return
    folder = cache_dir() / "compiled"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(folder, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
