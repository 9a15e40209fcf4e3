"""An example package for celo: one of everything that entry points can bring."""
