from tests.unit.conftest import engine

__all__ = ["engine"]
