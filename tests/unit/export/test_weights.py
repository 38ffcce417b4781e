import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from archroute_export.graph.weights import (
    INT4_BLOCK,
    Floats,
    Int4Blocks,
    Shared,
    quantize_blocks,
    quantize_columns,
    quantize_rows,
)

# From far below to far above what weights are; zeros are drawn often.
values = st.floats(-1e4, 1e4, width=32) | st.floats(-(2**-10), 2**-10, width=32)
matrices = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=40), elements=values)

# A scale is rounded to float32, and so is the quotient: neither moves a value by a thousandth of a step.
HALF_A_STEP = 0.5 + 1e-3


def decode_blocks(blocks: Int4Blocks, depth: int) -> Floats:
    """Read MatMulNBits' layout back into `[K, N]`, by its documentation and one value at a time."""
    outputs = blocks.packed.shape[0]
    matrix = np.zeros((depth, outputs), np.float32)
    for output in range(outputs):
        for row in range(depth):
            block, place = divmod(row, INT4_BLOCK)
            byte = int(blocks.packed[output, block, place // 2])
            stored = byte >> 4 if place % 2 else byte & 15
            matrix[row, output] = (stored - 8) * blocks.scales[output, block]
    return matrix


@given(matrices)
def test_columns_are_off_by_half_a_step_at_most(matrix: Floats) -> None:
    quantized = quantize_columns(matrix)
    assert quantized.values.dtype == np.uint8
    assert quantized.values.min() >= 1  # symmetric: -128 is not used
    decoded = (quantized.values.astype(np.float64) - 128) * quantized.scales
    assert (np.abs(decoded - matrix) <= HALF_A_STEP * quantized.scales).all()
    used = np.abs(quantized.values.astype(int) - 128).max(axis=0)
    np.testing.assert_array_equal(used, np.where(np.abs(matrix).max(axis=0) < 1e-30, 0, 127))


@given(matrices)
def test_rows_are_off_by_half_a_step_at_most(matrix: Floats) -> None:
    quantized = quantize_rows(matrix)
    assert quantized.values.dtype == np.int8
    decoded = quantized.values * quantized.scales.astype(np.float64)[:, None]
    assert (np.abs(decoded - matrix) <= HALF_A_STEP * quantized.scales[:, None]).all()


def test_long_tables_are_quantized_as_in_one_piece() -> None:
    table = np.random.default_rng(0).standard_normal((8192 + 5, 3)).astype(np.float32)
    whole, end = quantize_rows(table), quantize_rows(table[8190:])
    np.testing.assert_array_equal(whole.values[8190:], end.values)
    np.testing.assert_array_equal(whole.scales[8190:], end.scales)


@given(matrices)
def test_blocks_decode_to_within_half_a_step(matrix: Floats) -> None:
    blocks = quantize_blocks(matrix)
    depth, outputs = matrix.shape
    assert blocks.packed.shape == (outputs, -(-depth // INT4_BLOCK), INT4_BLOCK // 2)
    decoded = decode_blocks(blocks, depth)
    steps = np.abs(np.repeat(blocks.scales, INT4_BLOCK, axis=1)[:, :depth].T)
    error = np.abs(decoded.astype(np.float64) - matrix)
    # The value opposite to the block's extreme has no code of its own: 8 of -8 … 7 is cut to 7.
    cut = np.rint(matrix / np.where(steps == 0, 1, steps) * np.sign(_scales_of(blocks, depth))) > 7
    assert (error[~cut] <= HALF_A_STEP * steps[~cut]).all()
    assert (error[cut] <= (1 + 1e-3) * steps[cut]).all()


def _scales_of(blocks: Int4Blocks, depth: int) -> Floats:
    scales: Floats = np.repeat(blocks.scales, INT4_BLOCK, axis=1)[:, :depth].T
    return scales


def test_the_extreme_of_a_block_is_exact() -> None:
    matrix = np.zeros((64, 2), np.float32)
    matrix[3, 0], matrix[40, 0], matrix[63, 1] = 2.0, -0.75, -16.0
    np.testing.assert_array_equal(decode_blocks(quantize_blocks(matrix), 64), matrix)


@pytest.mark.parametrize("depth", [1, 31, 32, 33])
def test_zeros_stay_zeros_and_divide_nothing(depth: int) -> None:
    zeros = np.zeros((depth, 4), np.float32)
    assert (quantize_columns(zeros).values == 128).all()
    assert (quantize_rows(zeros).values == 0).all()
    assert (decode_blocks(quantize_blocks(zeros), depth) == 0).all()
    for scales in (
        quantize_columns(zeros).scales,
        quantize_rows(zeros).scales,
        quantize_blocks(zeros).scales,
    ):
        assert np.isfinite(scales).all()
        assert (scales != 0).all()


def test_a_shared_value_is_made_once_and_let_go() -> None:
    made: list[int] = []
    shared = Shared(lambda: made.append(1) or len(made))  # type: ignore[func-returns-value]
    assert (shared.get(), shared.get(), shared.take()) == (1, 1, 1)
    assert shared.get() == 2
