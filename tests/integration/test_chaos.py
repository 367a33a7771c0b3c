"""A few seconds of chaos; `make chaos` has minutes of it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bench.chaos.__main__ import chaos


@pytest.mark.timeout(240)
async def test_whatever_is_killed_stopped_or_cut_no_promise_is_broken(tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    came = await chaos(tmp_path, seed, 5.0, small=True)

    assert came["queries"] > 0
    assert not came["violations"], f"seed {seed}: {came}"
