"""A page per optimizer, made from its record: what `celo plugins show` and `docs/optimizers` say.

    page = document(registry.optimizer("adam"))
    print(as_markdown(page))

Nothing here imports JAX but `celo.pages.measuring`, which is not imported by the others.
"""

from celo.pages.costs import Cost, read_costs, write_costs
from celo.pages.document import Document, document
from celo.pages.reading import page_of
from celo.pages.rendering import as_markdown, as_text

__all__ = [
    "Cost",
    "Document",
    "as_markdown",
    "as_text",
    "document",
    "page_of",
    "read_costs",
    "write_costs",
]
