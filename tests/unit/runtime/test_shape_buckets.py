"""Shapes are padded to the smallest bucket that holds them."""

from hypothesis import given
from hypothesis import strategies as st

from archroute_server.runtime.shape_buckets import Shape, ShapeBuckets

BUCKETS = ShapeBuckets(cached=(0, 256, 512), new=(32, 64), rows=(1, 16), candidates=(16, 128))


def test_a_shape_is_padded_up_in_every_dimension() -> None:
    assert BUCKETS.fit(Shape(257, 64, 2, 1)) == Shape(512, 64, 16, 16)


def test_nothing_cached_stays_nothing() -> None:
    assert BUCKETS.fit(Shape(0, 1, 1, 1)) == Shape(0, 32, 1, 16)


def test_what_is_larger_than_every_bucket_has_none() -> None:
    for shape in (Shape(513, 1, 1, 1), Shape(0, 65, 1, 1), Shape(0, 1, 17, 1), Shape(0, 1, 1, 129)):
        assert BUCKETS.fit(shape) is None


sizes = st.integers(1, 600)


@given(st.builds(Shape, cached=st.integers(0, 600), new=sizes, rows=sizes, candidates=sizes))
def test_the_bucket_is_the_smallest_that_holds_the_shape(shape: Shape) -> None:
    def holds(bucket: Shape) -> bool:
        return (
            bucket.cached >= shape.cached
            and bucket.new >= shape.new
            and bucket.rows >= shape.rows
            and bucket.candidates >= shape.candidates
        )

    assert BUCKETS.fit(shape) == min(filter(holds, BUCKETS), default=None)
