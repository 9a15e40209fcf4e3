"""The page of costs says what was measured, and what bounds it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from tests.shared_folder import REPOSITORY


def _page(folder: Path) -> str:
    path = REPOSITORY / "docs" / "performance.py"
    spec = importlib.util.spec_from_file_location("performance", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.page(folder)


def _update(optimizer: str, ms: float, params: int, **fields: Any) -> dict[str, Any]:
    row = {"optimizer": optimizer, "params": params, "ms": ms, "ratio_to_adam": ms / 10}
    row |= {"state_bytes_per_param": 8.0, "bytes_per_param": 28.0, "temp_ratio": 0.5}
    return {**row, "compile_s": 3.0, **fields}


def test_bounds_are_in_updates_of_adam(tmp_path: Path) -> None:
    rows = [
        # 10 M parameters, 28 bytes each, at 56 GB/s: 5 of Adam's 10 ms.
        _update("optax.adam", 10.0, 10_000_000),
        # Twice the bytes: 10 ms, as long as an update of Adam. 2 x (30 x 4 + 4 x 4 + 4 x 2) flop a
        # parameter at 96 GFLOP/s: 30 ms. It took 120.
        _update("celo@random:0", 120.0, 10_000_000, bytes_per_param=56.0),
        {
            **{"task": "Digits_MLP_32", "optimizer": "celo", "params": 2410, "batch_size": 64},
            **{"ms_per_step": 0.5, "ratio_to_adam": 1.25, "optimizer_share": 0.4},
        },
        {
            **{"optimizer": "celo", "phase": 2, "ms": 150.0, "ratio_to_matmul": 1.5},
            **{"inner_steps": 3200, "inner_steps_per_second": 21333.0},
            **{"memory_mb": 700.0, "compile_s": 12.0},
        },
    ]
    machine = {"machine": "two cores", "copy_gb_s": 56.0, "matmul_gflop_s": 96.0}
    (tmp_path / "all.json").write_text(json.dumps({"machine": machine, "rows": rows}))
    for size, ms in ((1000, 0.05), (100_000, 1.0)):
        found = {"rows": [_update("optax.adam", ms, size)]}
        (tmp_path / f"size-{size}.json").write_text(json.dumps(found))

    text = _page(tmp_path)
    cells = [
        [c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line
    ]
    by_name = {(row[0], len(row)): row for row in cells}
    assert by_name["`optax.adam`", 9][4:7] == ["0.5", "-", "2.0"]
    assert by_name["`celo@random:0`", 9][2:7] == ["12.0", "8.0", "1.0", "3.0", "4.0"]
    assert by_name["`celo`", 4] == ["`celo`", "0.5", "1.25", "40%"]
    assert by_name["`celo`", 7][1:5] == ["2", "150", "1.50", "21,333"]
    assert by_name["1,000", 2][1] == "50.00" and by_name["100,000", 2][1] == "10.00"
    assert "two cores" in text and max(map(len, text.splitlines())) <= 110
