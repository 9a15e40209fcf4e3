"""Lists the error messages of the product that no test produced; none is the only good answer.

    mkdir FOLDER
    ERRORS_MET_FOLDER=FOLDER PYTHONPATH=$PWD/tests/error_messages pytest
    python tests/error_messages/unmet.py FOLDER

Several runs of parts of the tests may share a folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

from error_sites import REPOSITORY, Site, all_sites

# (module, beginning of the call as `ast.unparse` writes it) -> why no test can produce it.
ALLOWED: dict[tuple[str, str], str] = {}


def unmet(folder: Path) -> list[tuple[Path, Site]]:
    """The sites that no process met which noted what it meets in this folder."""
    met = {key for path in folder.glob("met-*") for key in path.read_text().split()}
    return [(path, site) for path, site in all_sites() if site.key not in met]


def _entry(site: Site) -> tuple[str, str] | None:
    found = (e for e in ALLOWED if e[0] == site.module and site.text.startswith(e[1]))
    return next(found, None)


def main(folder: Path) -> int:
    everything = [site for _, site in all_sites()]
    missing = [(path, site) for path, site in unmet(folder) if _entry(site) is None]
    for path, site in missing:
        print(f"{path.relative_to(REPOSITORY)}:{site.line}: {site.text}")
    stale = set(ALLOWED) - {_entry(site) for site in everything}
    for module, text in sorted(stale):
        print(f"excused, but not in the code: {module}: {text}")
    print(
        f"{len(missing)} of {len(everything)} places that make an error message were met by no "
        f"test ({len(ALLOWED)} are excused)"
    )
    return 1 if missing or stale else 0


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1])))
