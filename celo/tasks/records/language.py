"""The language models celo knows by itself; imports no JAX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from celo.records import Batching, TaskPlugin

_CITATION = "learned_optimization (Metz et al., 2022)"
# With 32,100 ids, the logits of one run of the larger tasks take half a gigabyte and its matrix
# products fill any machine: one run after the other.
_ONE_BY_ONE: Mapping[str, Batching] = {"default": "map"}
_SMALL: Mapping[str, Batching] = {"default": "vmap", "cpu": "map"}

_SETS = {"lm1b": ("lm1b", "LM1B"), "wikipediaen": ("wikipedia", "English Wikipedia")}


class _Size(NamedTuple):
    parameters: int
    heads: int
    width: int
    layers: int
    batch_size: int
    length: int
    dropout: float = 0.0


def _transformer(suffix: str, size: _Size) -> TaskPlugin:
    dropout = f", dropout {size.dropout:g}" if size.dropout else ""
    return TaskPlugin(
        name=f"TransformerLM_LM1B_{suffix}",
        family="transformer LM",
        summary=f"width {size.width}, {size.heads} heads of 32, {size.layers} "
        f"block{'s' * (size.layers > 1)}{dropout}, on {size.length} word pieces of LM1B",
        build="celo.tasks.transformer_lm:build",
        data_set="lm1b",
        vocabulary="32k",
        batch_size=size.batch_size,
        parameters=size.parameters,
        config={
            "data_set": "lm1b",
            "vocabulary": "32k",
            "batch_size": size.batch_size,
            "length": size.length,
            "heads": size.heads,
            "width": size.width,
            "layers": size.layers,
            "dropout": size.dropout,
        },
        citation=_CITATION,
        batching=_ONE_BY_ONE,
    )


_MULTI_RUNTIME = (
    _Size(1_332_820, heads=5, width=20, layers=1, batch_size=4, length=8, dropout=0.1),
    _Size(1_596_804, heads=6, width=24, layers=1, batch_size=4, length=8, dropout=0.1),
    _Size(2_137_124, heads=4, width=32, layers=2, batch_size=8, length=8),
    _Size(2_111_844, heads=4, width=32, layers=1, batch_size=8, length=16),
    _Size(2_137_124, heads=4, width=32, layers=2, batch_size=16, length=4),
    _Size(2_111_844, heads=4, width=32, layers=1, batch_size=8, length=32),
    _Size(5_271_940, heads=5, width=80, layers=1, batch_size=4, length=64),
    _Size(7_830_212, heads=7, width=112, layers=3, batch_size=16, length=32),
    _Size(8_448_228, heads=4, width=128, layers=1, batch_size=64, length=32),
    _Size(17_784_420, heads=4, width=256, layers=2, batch_size=64, length=64),
    _Size(18_442_724, heads=4, width=256, layers=3, batch_size=128, length=64),
    _Size(22_516_548, heads=19, width=304, layers=2, batch_size=256, length=32),
)
_FIVE_LAYERS = tuple(
    _Size(parameters, heads=8, width=width, layers=5, batch_size=32, length=128, dropout=0.1)
    for width, parameters in (
        (32, 2_296_804),
        (128, 9_570_916),
        (256, 20_416_612),
        (512, 46_040_164),
    )
)

TRANSFORMER_LM_TASKS: tuple[TaskPlugin, ...] = (
    *(_transformer(f"MultiRuntime_{i}", size) for i, size in enumerate(_MULTI_RUNTIME)),
    *(_transformer(f"5layer_{size.width}width", size) for size in _FIVE_LAYERS),
)


def _recurrent(
    short: str,
    vocabulary: str,
    length: int,
    cell: str,
    hidden: int,
    embedding: int,
    parameters: int,
) -> TaskPlugin:
    data_set, title = _SETS[short]
    return TaskPlugin(
        name=f"RNNLM_{short}{vocabulary}_Patch{length}_{cell}{hidden}_Embed{embedding}",
        family="recurrent LM",
        summary=f"{cell} of width {hidden}, embedding of {embedding}, on {length} "
        f"{'bytes' if vocabulary == 'bytes' else 'word pieces'} of {title}",
        build="celo.tasks.rnn_lm:build",
        data_set=data_set,
        vocabulary=vocabulary,
        batch_size=128,
        parameters=parameters,
        config={
            "data_set": data_set,
            "vocabulary": vocabulary,
            "batch_size": 128,
            "length": length,
            "cell": cell,
            "hidden": hidden,
            "embedding": embedding,
        },
        citation=_CITATION,
        batching=_ONE_BY_ONE if vocabulary == "32k" else _SMALL,
    )


RECURRENT_LM_TASKS: tuple[TaskPlugin, ...] = tuple(
    _recurrent(*fields)
    for fields in (
        ("lm1b", "32k", 32, "LSTM", 256, 128, 12_753_252),
        ("lm1b", "32k", 32, "VanillaRNN", 256, 128, 12_457_572),
        ("lm1b", "32k", 32, "IRNN", 256, 128, 12_457_572),
        ("lm1b", "bytes", 32, "LSTM", 128, 64, 149_059),
        ("lm1b", "bytes", 32, "LSTM", 256, 128, 494_467),
        ("lm1b", "bytes", 128, "LSTM", 128, 64, 149_059),
        ("lm1b", "bytes", 32, "GRU", 128, 64, 124_227),
        ("lm1b", "bytes", 32, "GRU", 256, 128, 395_651),
        ("lm1b", "bytes", 32, "VanillaRNN", 128, 64, 74_947),
        ("lm1b", "bytes", 32, "IRNN", 128, 64, 74_947),
        ("wikipediaen", "32k", 32, "LSTM", 256, 128, 12_753_252),
        ("wikipediaen", "32k", 32, "GRU", 256, 128, 12_654_436),
        ("wikipediaen", "bytes", 32, "LSTM", 256, 128, 494_467),
        ("wikipediaen", "bytes", 32, "GRU", 256, 128, 395_651),
    )
)
