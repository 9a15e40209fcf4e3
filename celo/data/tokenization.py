"""How documents become token ids: bytes, 32k word pieces, or pieces learned from a stand-in.

Ids 0, 1 and 2 are padding, end and unknown everywhere (spec of the tasks, 1.2). No JAX.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celo.data.local import data_folders
from celo.errors import DataError, DataMissingError
from celo.files import cache_dir, write_atomically

VOCABULARIES = {"bytes": 259, "32k": 32_100}
"""Name -> number of ids that a model must tell apart."""
PIECES = 32_000
"""Ids below this come from a word-piece vocabulary; the hundred above are never produced."""
SENTENCEPIECE_FILES = (
    "cc_all.32000/sentencepiece.model",
    "cc_all.32000.model",
    "sentencepiece.model",
    "spiece.model",
)
"""Names under which the published vocabulary is looked for in the data folders."""
SPECIAL = ("<pad>", "</s>", "<unk>")
_FIRST_BYTE = len(SPECIAL)
TRAINING_DOCUMENTS = 500_000
"""At most that many documents teach a vocabulary: the first ones of the training split."""
_BPE_VERSION = 1


@dataclass(frozen=True)
class Tokenizer:
    """From documents to ids.

    Attributes:
      name: of the vocabulary, as people read it.
      identity: equal identities give equal ids.
      encode: documents -> ids, at most `limit` a document.
    """

    name: str
    identity: str
    encode: Callable[[Sequence[str], int], list[Sequence[int]]]


def bytes_tokenizer() -> Tokenizer:
    """UTF-8 bytes plus 3."""

    def encode(texts: Sequence[str], limit: int) -> list[Sequence[int]]:
        # A character has at least one byte, so more than `limit` of them are never needed.
        cut = (text[:limit].encode()[:limit] for text in texts)
        return [[byte + _FIRST_BYTE for byte in text] for text in cut]

    return Tokenizer("bytes", "bytes 1", encode)


def sentencepiece_tokenizer(path: Path) -> Tokenizer:
    """A SentencePiece model of 32,000 pieces.

    Raises:
      DataError: the file is no such model, or one of another size.
      DataMissingError: `sentencepiece` is not installed.
    """
    library = _library("sentencepiece", "32k word pieces of the published vocabulary")
    try:
        content = path.read_bytes()
        processor = library.SentencePieceProcessor(model_proto=content)
        size = processor.get_piece_size()
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{path}: expected a SentencePiece model, but it cannot be read: "
            f"{str(error).splitlines()[0]}",
            hint="it may be cut short or of another form; fetch it again",
        ) from error
    if size != PIECES:
        raise DataError(
            f"{path}: expected a vocabulary of {PIECES:,} pieces, found {size:,}",
            hint="the published tasks use T5's vocabulary, cc_all.32000",
        )

    def encode(texts: Sequence[str], limit: int) -> list[Sequence[int]]:
        # A list, not one call with all: that would start threads for every few documents.
        return [_long_enough(processor.encode, text, limit) for text in texts]

    digest = hashlib.sha256(content).hexdigest()
    return Tokenizer(f"SentencePiece {path.name}", f"sentencepiece {digest}", encode)


def find_sentencepiece() -> Path:
    """Where the published vocabulary lies.

    Raises:
      DataMissingError: nowhere; says where to put it.
    """
    for folder in data_folders():
        for name in SENTENCEPIECE_FILES:
            if (folder / name).is_file():
                return folder / name
    folder = data_folders()[0]
    raise DataMissingError(
        "the 32k vocabulary of the published language tasks is not on this machine; looked in "
        + " and ".join(map(str, data_folders())),
        hint=f"put T5's SentencePiece model (cc_all.32000, 32,000 pieces) into {folder} as "
        f"{SENTENCEPIECE_FILES[0]} or {SENTENCEPIECE_FILES[-1]}, or let another set stand in with "
        "a vocabulary of its own, for example `--data lm1b=wikitext2`",
    )


def learned_tokenizer(documents: Callable[[], Iterable[str]], key: str) -> Tokenizer:
    """Byte-level BPE of at most 32,000 ids, learned from documents; kept in the cache.

    The same documents give the same vocabulary, to the last id.

    Args:
      documents: the training documents; called only if they were never learned from.
      key: identifies these documents.

    Raises:
      DataMissingError: `tokenizers` is not installed.
    """
    library = _library("tokenizers", "word pieces of a set that stands in for another")
    digest = hashlib.sha256(f"bpe {_BPE_VERSION} {library.__version__} {key}".encode()).hexdigest()
    path = cache_dir() / "vocabularies" / f"{digest[:32]}.json"
    tokenizer = _read_bpe(library, path)
    if tokenizer is None:
        tokenizer = _train_bpe(library, documents())
        text = tokenizer.to_str()
        write_atomically(path, lambda file: file.write(text.encode()))
    assert tokenizer.get_vocab_size() <= PIECES, path
    identity = hashlib.sha256(tokenizer.to_str().encode()).hexdigest()

    def encode(texts: Sequence[str], limit: int) -> list[Sequence[int]]:
        return [_long_enough(lambda t: tokenizer.encode(t).ids, text, limit) for text in texts]

    name = f"BPE of {tokenizer.get_vocab_size():,} ids, learned from the stand-in"
    return Tokenizer(name, f"bpe {identity}", encode)


def _read_bpe(library: Any, path: Path) -> Any:
    """The vocabulary that an earlier run kept, or None; one that cannot be read is made anew."""
    try:
        return library.Tokenizer.from_str(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except Exception:  # what the library raises on damaged files is a bare Exception
        return None


def _train_bpe(library: Any, documents: Iterable[str]) -> Any:
    parts = {n: importlib.import_module(f"tokenizers.{n}") for n in ("models", "pre_tokenizers")}
    trainers = importlib.import_module("tokenizers.trainers")
    tokenizer = library.Tokenizer(parts["models"].BPE())
    byte_level = parts["pre_tokenizers"].ByteLevel
    tokenizer.pre_tokenizer = byte_level(add_prefix_space=True)
    # The whole byte alphabet from the start, so that no text of any split is unknown.
    trainer = trainers.BpeTrainer(
        vocab_size=PIECES,
        special_tokens=list(SPECIAL),
        initial_alphabet=byte_level.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_first(documents, TRAINING_DOCUMENTS), trainer)
    return tokenizer


def _first(documents: Iterable[str], count: int) -> Iterator[str]:
    return (document for document, _ in zip(documents, range(count), strict=False))


def _long_enough(encode: Callable[[str], Sequence[int]], text: str, limit: int) -> Sequence[int]:
    """The first `limit` ids of a document, without encoding all of a long one.

    Pieces never reach over a blank, so what stands before one has the same pieces alone.
    """
    size = 16 * limit
    while size < len(text):
        end = text.rfind(" ", 0, size)
        ids = encode(text[:end]) if end > 0 else ()
        if len(ids) >= limit:
            return ids[:limit]
        size *= 4
    return encode(text)[:limit]


def _library(name: str, purpose: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise DataMissingError(
            f"{purpose} need the package {name}, which is not installed",
            hint='pip install "celo[data]"',
        ) from None
