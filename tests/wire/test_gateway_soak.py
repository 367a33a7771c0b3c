"""Nine seconds of mixed load, and each fault once; `make soak-gateway` does the same for longer."""

from __future__ import annotations

import pytest

from bench.gateway.soak import soak


@pytest.mark.timeout(240)
async def test_under_load_and_faults_no_healthy_call_fails_and_nothing_is_left_behind() -> None:
    figures, failures = await soak(9.0, idle=100)
    assert failures == []
    assert figures.get("shaky_200"), "the shaky service never answered"
    assert figures.keys() & {"shaky_503", "shaky_504", "shaky_cut"}, "the shaky service never failed"
