"""Other people's libraries: their objects under our names, our states and weights in theirs.

`lo:NAME` (an optimizer or a task of learned_optimization) is found by `celo.loading`; the other
direction needs nothing, because the contracts of `celo.protocol` are the ones of that library.
Importing this package imports neither JAX nor anything foreign.
"""
