"""The binary form of pgvector's type."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from answermesh.store.vector import MAX_DIMENSION, decode, encode


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=400))
def test_what_goes_in_comes_out(values: list[float]) -> None:
    assert decode(encode(values)).tolist() == values
    assert encode(np.array(values, dtype=np.float32)) == encode(values)


def test_the_form_is_that_of_pgvector() -> None:
    assert encode([1.0, -2.0]).hex() == "00020000" + "3f800000" + "c0000000"


def test_the_decoded_array_belongs_to_the_caller() -> None:
    vector = decode(encode([1.0]))
    vector[0] = 2.0
    assert vector.dtype == np.dtype("<f4").newbyteorder("=")


@pytest.mark.parametrize("shape", [(0,), (2, 2), (), (MAX_DIMENSION + 1,)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="one axis"):
        encode(np.zeros(shape, dtype=np.float32))


def test_who_has_no_vectors_does_not_load_numpy() -> None:
    looked = "import sys, answermesh.orchestrator.service; print('numpy' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", looked], text=True).strip() == "False"
