"""Channels for wake-ups, each test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.push.channels import Channel, open_channel
from tests.unit.conftest import engine

__all__ = ["channel", "engine"]


@pytest.fixture
def channel(request: pytest.FixtureRequest) -> Iterator[Channel]:
    """A channel on which words arrive; parametrise it with ``CHANNELS``."""
    with open_channel(request.param) as channel:
        yield channel
