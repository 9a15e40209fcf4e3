"""Measures what optimizers cost: updates, training loops, meta-training.

Every figure is a ratio of things that took turns in one process on one machine: to jitted, donated
`optax.adam`, to a copy in memory, to a matrix product. Absolute times go with the machine; ratios
travel further.
"""
