"""Eight devices on a machine without any: flags for XLA, and a process to use them in."""

from __future__ import annotations

import os
import sys

DEVICES = 8
_FLAG = "--xla_force_host_platform_device_count"


def with_devices(flags: str | None) -> str:
    """The value of XLA_FLAGS with enough CPU devices; takes effect before JAX starts."""
    others = [flag for flag in (flags or "").split() if not flag.startswith(_FLAG)]
    return " ".join([*others, f"{_FLAG}={DEVICES}"])


def environment_with_devices() -> dict[str, str]:
    """This process' environment with eight CPU devices and nothing else."""
    flags = with_devices(os.environ.get("XLA_FLAGS"))
    return {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


def main(texts: list[str]) -> int:
    """Applies the rule about sharding to optimizers by name; prints what failed, and remarks."""
    from celo.testing.optimizer_subject import find_optimizer
    from celo.testing.rules import apply_rules
    from celo.testing.transform_rules import SHARDING

    results = [
        (text, result) for text in texts for result in apply_rules([SHARDING], find_optimizer(text))
    ]
    for text, result in results:
        if result.message:
            print(f"{text}: {result.message}" if len(texts) > 1 else result.message)
    return 1 if any(result.status != "ok" for _, result in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
