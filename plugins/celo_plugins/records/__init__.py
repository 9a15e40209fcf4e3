"""Declarations of the first-party optimizers: what they are called, need and cite; no JAX here.

Implementations are imported on first use. One module a family, as beside this folder.
"""
