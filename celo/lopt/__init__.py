"""What learned optimizers share; for authors of plugins.

`leaves` (paths, shapes, checks), `accumulators`, `features` and `perparam_mlp` (the network applied
to every parameter), `scheduler` and `loss_buffer` (the network that sees the run), `casting`,
`theta` (weights from files).
"""

from celo.lopt.leaves import named_leaves, path_string
from celo.lopt.theta import theta_from_tree, theta_template

__all__ = ["named_leaves", "path_string", "theta_from_tree", "theta_template"]
