"""Lines can be told apart, by everybody, on both papers."""

from __future__ import annotations

import numpy as np

from celo.report.palette import DARK_PAPER, LIGHT_PAPER, styles

# Machado, Oliveira and Fernandes 2009, severity 1.0, linear RGB.
_BLIND = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}


def _linear(colour: str) -> np.ndarray:
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def _luminance(colour: str) -> float:
    return float(_linear(colour) @ [0.2126, 0.7152, 0.0722])


def _lab(linear: np.ndarray) -> np.ndarray:
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    f = np.cbrt(np.clip(xyz @ linear, 1e-6, None) / [0.9505, 1.0, 1.089])
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def _contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_every_colour_stands_out_from_its_paper() -> None:
    for style in styles([f"o{i}" for i in range(9)], "o0").values():
        assert _contrast(style.light, LIGHT_PAPER) >= 3
        assert _contrast(style.dark, DARK_PAPER) >= 3


def test_thirty_optimizers_have_thirty_looks() -> None:
    names = [f"o{i}" for i in range(30)]
    looks = styles(names, "o3")
    assert list(looks) == names
    assert len({(s.light, s.dash) for s in looks.values()}) == 30
    assert len({(s.dark, s.marker) for s in looks.values()}) == 30


def test_colour_blind_people_tell_the_first_optimizers_apart() -> None:
    looks = list(styles([f"o{i}" for i in range(6)], "o0").values())
    for matrix in _BLIND.values():
        for paper in ("light", "dark"):
            seen = [
                _lab(np.clip(np.array(matrix) @ _linear(getattr(s, paper)), 0, 1)) for s in looks
            ]
            gaps = [np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]]
            assert min(gaps) > 12, (paper, min(gaps))


def test_the_reference_keeps_its_look_in_any_company() -> None:
    assert styles(["a", "b"], "b")["b"] == styles(["b", "c", "d"], "b")["b"]
