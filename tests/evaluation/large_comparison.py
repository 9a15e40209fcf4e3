"""A comparison as large as they come, with curves that look like losses; nothing is trained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from celo.evaluation.cells import Cell, DataIdentity, Schedule
from tests.evaluation.synthetic_cells import cell

NAMES = (
    "adam celo celo-adam velo-s velo-4000 rnn-mlp-lopt adafac-mlp-lopt celo2 celo2-base "
    "sgd:lr=0.1 sgdm adamw nadamw rmsprop adagrad sm3 adabelief yogi radam adafactor fromage lars "
    "lamb muon lion prodigy schedule-free-adamw shampoo optlist nn-adam"
).split()
TASKS = (
    "ImageMLP_FashionMnist_Relu128x128 ImageMLP_Cifar10_128x128x128_LayerNorm_Relu "
    "ImageMLP_Cifar10_128x128x128_Tanh_bs128 Conv_Cifar10_32x64x64 Conv_Cifar10_32x64x64_batchnorm "
    "Conv_Cifar10_32x64x64_layernorm Conv_Cifar100_32x64x64 VIT_Cifar100_wideshallow "
    "VIT_Cifar100_skinnydeep TransformerLM_LM1B_MultiRuntime_0 TransformerLM_LM1B_MultiRuntime_2 "
    "TransformerLM_LM1B_MultiRuntime_5 ImageMLPAE_Cifar10_128x32x128_bs256 "
    "ImageMLPAE_Mnist_128x32x128_bs128 RNNLM_lm1b32k_Patch32_LSTM256_Embed128 "
    "RNNLM_wikipediaen32k_Patch32_LSTM256_Embed128 LOpt_AdafacMLPLOpt_FashionMnist_50"
).split()


def comparison(
    optimizers: int = 30,
    tasks: int = 17,
    seeds: int = 3,
    *,
    steps: int = 2000,
    data: DataIdentity | None = None,
) -> list[Cell]:
    """Cells of `optimizers` x `tasks` x `seeds` runs; one optimizer in eight diverges on a task."""
    schedule = Schedule(steps)
    xs = np.unique([*range(0, steps, schedule.eval_every), steps]).astype(np.float64)
    cells = []
    for t, task in enumerate(TASKS[:tasks]):
        for o, name in enumerate(NAMES[:optimizers]):
            for seed in range(seeds):
                random = np.random.default_rng([t, o, seed])
                start, end = 2.3 + t % 5, 0.05 + 0.3 * (t % 3) + 0.004 * o * (1 + t % 4)
                speed = (0.5 + ((o * 7 + t * 3) % 11) / 6) * 6 / steps
                losses = end + (start - end) / (1 + speed * xs) ** 1.3
                losses *= np.exp(0.06 * random.standard_normal(xs.size))
                if (o + t) % 8 == 7 and seed == 2:
                    losses[xs.size // 2 :] = np.nan
                made = cell(
                    name,
                    task,
                    seed,
                    losses,
                    schedule=schedule,
                    data=data,
                    block=tuple(range(seeds)),
                )
                curves = {"eval/xs": xs, "eval/train/loss": losses, "eval/test/loss": losses * 1.1}
                cost = {
                    "ms_per_step": 1.0 + 0.3 * o + 0.1 * t,
                    "wall_s": 60.0 + o,
                    "compile_s": 3.0 + 0.1 * o,
                    "state_bytes_per_parameter": 8.0 + 4.0 * (o % 5),
                    "peak_memory_bytes": 1e9 + 1e7 * o,
                }
                cells.append(replace(made, curves=curves, cost=cost, provenance=_PROVENANCE))
    return cells


_PROVENANCE = {
    "versions": {"celo": "0.1.0", "jax": "0.10.2", "numpy": "2.4.6"},
    "platform": "cpu",
    "device": "synthetic",
    "matmul_precision": "default",
}
