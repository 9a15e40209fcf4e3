import subprocess
import sys

import pytest

from celo.errors import UnknownNameError
from celo_zoo import card, cards
from celo_zoo.catalogue import expand

COUNTS = {
    "adafac-mlp-lopt": (9, 197),
    "celo": (33, 37_089),
    "celo-adam": (12, 36_865),
    "celo2": (19, 347),
    "celo2-base": (19, 347),
    "rnn-mlp-lopt": (16, 35_799),
    "velo-4000": (33, 2_320_385),
    "velo-s": (33, 46_337),
}


def test_entries_and_their_sizes():
    assert {name: (len(c.leaves), c.numbers) for name, c in cards().items()} == COUNTS
    assert list(cards()) == sorted(cards())


@pytest.mark.parametrize("name", COUNTS)
def test_cards_are_complete(name):
    entry = card(name)
    assert entry.id == name
    assert entry.repository == f"amoudgl/{name}"
    assert entry.file == "theta.state"
    for text in (entry.optimizer, entry.summary, entry.licence, entry.citation, entry.recipe):
        assert text.strip()
    assert entry.limits
    assert all(leaf.dtype == "float32" for leaf in entry.leaves)
    paths = {leaf.path for leaf in entry.leaves}
    for node, fields in entry.named_tuples.items():
        assert {f"{node}|{field}" for field in fields} <= paths
    has_lstm = "lstm_init_state|hidden" in paths
    assert dict(entry.named_tuples) == ({"lstm_init_state": ("hidden", "cell")} if has_lstm else {})


def test_only_what_was_read_or_computed_is_pinned():
    pinned = {name for name, c in cards().items() if c.sha256 or c.bytes or c.content_hash}
    assert pinned == {"celo", "celo-adam"}
    for name in pinned:
        assert len(card(name).sha256 or "") == len(card(name).content_hash or "") == 64
    assert all(c.revision is None for c in cards().values())
    for name in set(COUNTS) - pinned:
        assert any("no checksum" in limit for limit in card(name).limits)


def test_names_are_forgiving_and_unknown_ones_name_the_nearest():
    assert card("Celo_Adam") is cards()["celo-adam"]
    assert card("celo2base") is cards()["celo2-base"]
    assert card("rnn_mlp") is cards()["rnn-mlp-lopt"]
    with pytest.raises(UnknownNameError) as caught:
        card("velo-400")
    assert "velo-4000" in (caught.value.hint or "")


def test_aliases_clash_with_nothing():
    aliases = [alias for c in cards().values() for alias in c.aliases]
    assert len({*aliases, *cards()}) == len(aliases) + len(cards())


def test_braces_in_leaf_patterns():
    assert expand("a{,_1}|{w,b}") == ["a|w", "a|b", "a_1|w", "a_1|b"]
    assert expand("plain|~|w") == ["plain|~|w"]


def test_listing_the_zoo_imports_nothing_heavy():
    heavy = ["numpy", "jax", "pandas", "safetensors", "msgpack", "huggingface_hub"]
    code = (
        "import sys, celo_zoo; celo_zoo.cards(); celo_zoo.parse_locator('celo'); "
        f"print(*[name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
