"""What this package brings; every command imports this module, so it imports nothing heavy."""

from __future__ import annotations

from celo.records import (
    DataSet,
    Grid,
    Hyperparameter,
    Metric,
    OptimizerPlugin,
    Page,
    Suite,
    TaskPlugin,
)

LION = OptimizerPlugin(
    name="lion-cub",
    kind="hand-crafted",
    summary="sign of an interpolated momentum",
    build="celo_lion.optimizers:lion",
    citation="Chen et al. 2023, arXiv:2302.06675",
    api_version=1,
    hyperparameters=(
        Hyperparameter("lr", "float", 1e-4, low=0.0, traceable=True, help="learning rate"),
        Hyperparameter("b1", "float", 0.9, low=0.0, high=1.0, help="share of momentum in a step"),
        Hyperparameter("b2", "float", 0.99, low=0.0, high=1.0, help="decay of the momentum"),
        Hyperparameter("weight_decay", "float", 0.0, low=0.0, help="decoupled, times lr"),
    ),
    grid=Grid("lr", (1e-4, 3e-4, 1e-3, 3e-3, 1e-2), source="the paper's range, coarser"),
    page=Page(
        mathematics="u = sign(b1 m + (1-b1) g)\np <- p - lr (u + weight_decay p)\n"
        "m <- b2 m + (1-b2) g",
        limits=("every parameter moves by lr, whatever its gradient",),
        verified=("computed by `optax.lion`; keeps the rules of `celo plugins check`",),
    ),
)

TENSOR_STEPS = OptimizerPlugin(
    name="tensor-steps",
    kind="learned",
    summary="momentum, with a learned step size for tensors of rank 0, 1 and above",
    build="celo_lion.optimizers:TensorSteps",
    api_version=1,
)

_TASK = TaskPlugin(
    name="BinaryDigits_Linear",
    family="linear classifier",
    summary="logistic regression of zeros against ones",
    build="celo_lion.task:BinaryDigits",
    data_set="binary_digits",
    batch_size=16,
    parameters=65,
    config={"batch_size": 16},
    api_version=1,
)
_SMALL_BATCHES = TaskPlugin(
    name="BinaryDigits_Linear_bs8",
    family="linear classifier",
    summary="logistic regression of zeros against ones, batches of 8",
    build="celo_lion.task:BinaryDigits",
    data_set="binary_digits",
    batch_size=8,
    parameters=65,
    config={"batch_size": 8},
    api_version=1,
)
TASKS = (_TASK, _SMALL_BATCHES)

SUITE = Suite(
    name="lion-mini",
    tasks=("BinaryDigits_Linear", "BinaryDigits_Linear_bs8"),
    steps=100,
    summary="two tiny tasks, to see that everything works",
    provenance="celo-lion's own choice",
    api_version=1,
)

DATA_SET = DataSet(
    name="binary_digits",
    summary="handwritten zeros and ones, 8x8 grey; a part of scikit-learn's digits",
    load="celo_lion.data:load",
    kind="image",
    train_rows=288,
    test_rows=72,
    image_shape=(8, 8, 1),
    num_classes=2,
    licence="CC BY 4.0 (UCI), as distributed with scikit-learn",
    citation="Alpaydin and Kaynak, 1998",
    largest_pixel=16,
    embedded=True,
    carrier="scikit-learn",
    api_version=1,
)

METRIC = Metric(
    name="steadiness",
    summary="share of evaluations at which the loss was no higher than at the one before",
    compute="celo_lion.metric:steadiness",
    options=(Hyperparameter("slack", "float", 0.0, low=0.0, help="relative rise to overlook"),),
)
