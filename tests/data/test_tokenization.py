from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from celo.data import tokenization
from celo.data.tokenization import bytes_tokenizer, learned_tokenizer, sentencepiece_tokenizer
from celo.errors import DataError, DataMissingError

DOCUMENTS = [f"the cat number {i} sat on a mat of {i * i} straws" for i in range(400)]


def test_bytes_are_shifted_by_three() -> None:
    encode = bytes_tokenizer().encode
    assert encode(["aé"], 10) == [[97 + 3, 0xC3 + 3, 0xA9 + 3]]
    assert encode(["é" * 5, ""], 3) == [[0xC6, 0xAC, 0xC6], []]


def _train(pieces: int) -> bytes:
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(DOCUMENTS), model_writer=model, vocab_size=pieces,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2,
    )  # fmt: skip
    return model.getvalue()


def test_a_sentencepiece_model(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = data_folder / "cc_all.32000" / "sentencepiece.model"
    with pytest.raises(DataMissingError, match="32k vocabulary of the published") as caught:
        tokenization.find_sentencepiece()
    assert "cc_all.32000" in (caught.value.hint or "")
    path.parent.mkdir()
    path.write_bytes(_train(60))
    assert tokenization.find_sentencepiece() == path
    with pytest.raises(DataError, match="expected a vocabulary of 32,000 pieces, found 60"):
        sentencepiece_tokenizer(path)

    monkeypatch.setattr(tokenization, "PIECES", 60)
    tokenizer = sentencepiece_tokenizer(path)
    long = " ".join(DOCUMENTS)
    (ids,), (first,) = tokenizer.encode([long], 10**6), tokenizer.encode([long], 50)
    assert ids[:50] == first and len(first) == 50
    assert min(ids) >= 2 and max(ids) < 60

    path.write_bytes(b"no model")
    with pytest.raises(DataError, match="expected a SentencePiece model") as caught:
        sentencepiece_tokenizer(path)
    assert str(path) in caught.value.message


def test_a_learned_vocabulary(data_folder: Path) -> None:
    tokenizer = learned_tokenizer(lambda: DOCUMENTS, "a")
    text = "the cat \N{SNOWMAN} never seen" + " straws" * 500
    (ids,), (first,) = tokenizer.encode([text], 10**6), tokenizer.encode([text], 129)
    assert list(ids[:129]) == list(first) and len(first) == 129
    assert 3 <= min(ids) and max(ids) < 32_000  # padding, end and unknown never occur
    assert len(ids) < 600  # words that occur often are one piece

    def never() -> list[str]:
        raise AssertionError("it is in the cache")

    assert learned_tokenizer(never, "a").identity == tokenizer.identity
    other = learned_tokenizer(lambda: DOCUMENTS[:100], "b")
    assert other.identity != tokenizer.identity
    for path in (data_folder.parent / "cache" / "vocabularies").iterdir():
        path.write_text("damaged")
    assert learned_tokenizer(lambda: DOCUMENTS, "a").identity == tokenizer.identity


def test_learning_gives_the_same_in_every_process(data_folder: Path) -> None:
    code = (
        "from tests.data.test_tokenization import DOCUMENTS\n"
        "from celo.data.tokenization import learned_tokenizer\n"
        "print(learned_tokenizer(lambda: DOCUMENTS, 'a').identity)"
    )
    found = set()
    for seed in ("1", "2"):
        cache = str(data_folder / seed)
        environment = {**os.environ, "PYTHONHASHSEED": seed, "CELO_CACHE_DIR": cache}
        command = [sys.executable, "-c", code]
        found.add(subprocess.check_output(command, env=environment, text=True))
    assert found == {learned_tokenizer(lambda: DOCUMENTS, "a").identity + "\n"}


@pytest.mark.parametrize("name", ["tokenizers", "sentencepiece"])
def test_a_library_that_is_not_installed(
    data_folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DataMissingError, match=f"package {name}, which is not") as caught:
        if name == "tokenizers":
            learned_tokenizer(lambda: DOCUMENTS, "a")
        else:
            sentencepiece_tokenizer(data_folder / "any")
    assert "celo[data]" in (caught.value.hint or "")
