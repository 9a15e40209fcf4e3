"""What learned optimizers share; for authors of plugins.

`leaves` (shapes), `accumulators`, `features` and `perparam_mlp` (the network applied to every
parameter), `scheduler` and `loss_buffer` (the network that sees the run), `optimizer` (what all
optimizers with given weights do alike), `theta` (weights from files).
"""

from celo.lopt.theta import theta_from_tree, theta_template

__all__ = ["theta_from_tree", "theta_template"]
