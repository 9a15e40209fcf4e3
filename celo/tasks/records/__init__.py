"""The tasks celo knows by itself, a module a family; imports no JAX."""

from __future__ import annotations

from celo.tasks.records.autoencoder import AUTOENCODER_TASKS, DIGITS_AUTOENCODERS
from celo.tasks.records.conv import CONV_TASKS, DIGITS_CONVS
from celo.tasks.records.evolution import EVOLUTION_TASKS
from celo.tasks.records.language import RECURRENT_LM_TASKS, TRANSFORMER_LM_TASKS
from celo.tasks.records.learned_optimizer import LOPT_EVOLUTION_TASKS, LOPT_TASKS
from celo.tasks.records.mlp import DIGITS_MLPS, FAST_VELO_TASKS, MLP_TASKS
from celo.tasks.records.patch import MIXER_TASKS, VIT_TASKS
from celo.tasks.records.resnet import RESNET_TASKS

DIGITS_TASKS = (*DIGITS_MLPS, *DIGITS_CONVS, *DIGITS_AUTOENCODERS)
"""Small enough for a laptop, on data that comes with scikit-learn."""

__all__ = [
    "AUTOENCODER_TASKS",
    "CONV_TASKS",
    "DIGITS_TASKS",
    "EVOLUTION_TASKS",
    "FAST_VELO_TASKS",
    "LOPT_EVOLUTION_TASKS",
    "LOPT_TASKS",
    "MIXER_TASKS",
    "MLP_TASKS",
    "RECURRENT_LM_TASKS",
    "RESNET_TASKS",
    "TRANSFORMER_LM_TASKS",
    "VIT_TASKS",
]
