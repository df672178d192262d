import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rella_cpp.datasets.tables.times import read_times
from rella_cpp.domains.values import UNITS, is_date, read_time

MOMENT = 1_600_004_122


@pytest.mark.parametrize(
    "times",
    [
        *([MOMENT * power, (MOMENT + 1) * power, 0] for power in (1, 10**3, 10**6, 10**9)),
        [float(MOMENT) * 1000, (MOMENT + 1.0) * 1000, 0.0],
        [f"{MOMENT}", f" {MOMENT + 1}.0 ", "0"],
        ["2020-09-13T13:35:22", "2020-09-13T13:35:23", "1970-01-01T00:00:00"],
        ["2020-09-13 13:35:22Z", "2020-09-13 13:35:23Z", "1970-01-01 00:00:00Z"],
        ["2020-09-13T15:35:22+02:00", "2020-09-13T13:35:23+00:00", "1970-01-01"],
        ["2020-09-13T13:35:22", f"{MOMENT + 1}", "1970-01-01"],
    ],
)
def test_one_column_of_times_in_every_form_is_the_same_seconds(times: list[object]) -> None:
    found = read_times(pa.array(times), "when")
    assert found.seconds.tolist() == [MOMENT, MOMENT + 1, 0] and found.nanos is None
    assert not found.bad.any() and not found.strange.any()


@given(
    times=st.lists(
        st.integers(-(2**63), 2**63 - 1) | st.floats() | st.floats(1e8, 1e10) | st.integers(10**8, 10**10),
        max_size=6,
    ),
    whole=st.booleans(),
)
def test_any_column_of_numbers_is_times_of_one_unit(times: list[float], whole: bool) -> None:
    values = (
        [int(time) for time in times if not whole or abs(time) < 2**63] if whole else [float(time) for time in times]
    )
    found = read_times(pa.array(values, pa.int64() if whole else pa.float64()), "when")
    sizes = {found.unit.below} if found.unit else set()
    for value, seconds, bad, strange in zip(values, found.seconds, found.bad, found.strange, strict=True):
        unit = next((unit for unit in UNITS if abs(value) < unit.below), None)
        assert bad == (unit is None or is_date(value))
        if not bad and unit is not None and value and found.unit is not None:
            assert strange == (unit.below not in sizes)
            assert strange or abs(seconds - value / unit.a_second) <= 1


def test_parquets_own_times_and_dates_are_read() -> None:
    moment = np.datetime64("2020-09-13T13:35:22.25")
    for unit in ("s", "ms", "us", "ns"):
        for zone in (None, "Europe/Berlin"):
            found = read_times(pa.array([moment.astype(f"M8[{unit}]")]).cast(pa.timestamp(unit, zone)), "when")
            rest = None if unit == "s" else [250_000_000]
            assert found.seconds.tolist() == [MOMENT]
            assert (None if found.nanos is None else found.nanos.tolist()) == rest
    assert read_times(pa.array([18518], pa.date32()), "when").seconds.tolist() == [1_599_955_200]


@given(
    times=st.lists(
        st.integers(10**8, 9 * 10**9).map(lambda n: n * 10**9 + 7)
        | st.floats(1e8, 9e9)
        | st.datetimes().map(lambda moment: moment.isoformat())
        | st.sampled_from(["", "nan", "soon", "09/13/2020 13:35"]),
        max_size=5,
    )
)
def test_a_column_of_texts_is_read_as_each_is_alone(times: list[object]) -> None:
    texts = [str(time) for time in times]
    found = read_times(pa.array(texts, pa.string()), "when")
    for text, seconds, bad, strange in zip(texts, found.seconds, found.bad, found.strange, strict=True):
        try:
            alone = read_time(text)
        except ValueError:
            alone = None
        assert bad == (alone is None)
        if alone is not None and not strange:
            # A column with a float is one of floats, which do not hold nanoseconds.
            assert abs(seconds - alone // 1) <= 1
