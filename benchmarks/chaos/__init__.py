"""Hundreds of processes, and everything they stand on being broken meanwhile (see ``__main__``)."""
