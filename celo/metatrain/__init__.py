"""Meta-training: weights of learned optimizers, from nothing.

`config` says what a stage is, `inner` trains networks, `celo.estimators` makes meta-gradients of
it, `program` compiles the two and AdamW into one function, `run` keeps it going in a folder,
`recipe` chains stages. Importing this package imports no JAX.
"""
