"""What learned optimizers share; for authors of plugins.

`leaves` (shapes), `accumulators`, `features`, `sums` and `perparam_mlp` (the network applied to
every parameter), `wide_mlp` (the same with many units), `step_features`, `tensor_lstm` (the network
that sees every tensor), `scheduler` and `loss_buffer` (the network that sees the run), `scheduled`
and `scheduled_mlp` (optimizers which it drives), `orthogonalize` (Newton-Schulz), `optimizer` (what
all optimizers with given weights do alike), `combine` (optimizers made of others), `theta` (weights
from files).
"""

from celo.lopt.theta import theta_from_tree, theta_template

__all__ = ["theta_from_tree", "theta_template"]
