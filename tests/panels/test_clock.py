import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest
import xarray as xr

from pymc_dynsys.panels import panel

ROLES = {"subject": "id", "time": "t", "observed": "y"}
STARTS = ["2024-03-29 12:00", "2024-03-30 12:00", "2024-03-31 12:00"]


def frame_of(library, times):
    return library.DataFrame({"id": [1, 1, 2], "t": times, "y": [1.0, 2.0, 3.0]})


def dates(library, texts, zone=None):
    if library is pd:
        return pd.Series(pd.to_datetime(texts)).dt.tz_localize(zone)
    return pl.Series(texts).str.to_datetime("%Y-%m-%d %H:%M").dt.replace_time_zone(zone)


@pytest.mark.parametrize("library", [pd, pl])
@pytest.mark.parametrize(
    "unit, day", [("W", 1 / 7), ("D", 1), ("h", 24), ("m", 1440), ("s", 86400), ("ms", 86400000)]
)
def test_dates_in_each_unit(library, unit, day):
    got = panel(frame_of(library, dates(library, STARTS)), **ROLES, unit=unit)["time"]
    np.testing.assert_allclose(got.values, [[0.0, day], [2 * day, np.nan]], rtol=1e-15)
    assert got.attrs == {"unit": unit, "origin": "2024-03-29T12:00"}


@pytest.mark.parametrize("library", [pd, pl])
def test_an_hour_is_lost_when_the_clocks_go_forward(library):
    aware = dates(library, STARTS, "Europe/Amsterdam")
    got = panel(frame_of(library, aware), **ROLES, unit="h")["time"]
    np.testing.assert_array_equal(got.values, [[0.0, 24.0], [47.0, np.nan]])
    assert got.attrs == {
        "unit": "h",
        "origin": "2024-03-29T11:00",
        "time_zone": "Europe/Amsterdam",
    }


@pytest.mark.parametrize("zone", ["America/New_York", "Etc/GMT+5", "America/Port-au-Prince"])
def test_zones_of_pandas_that_narwhals_does_not_name(zone):
    """Clocks of America go forward at 2 on 10 March; those of Etc/GMT+5, UTC-5, never do."""
    texts = ["2024-03-09 12:00", "2024-03-10 12:00", "2024-03-31 23:30"]
    got = panel(frame_of(pd, dates(pd, texts, zone)), **ROLES, unit="h")["time"]
    lost = 0.0 if zone == "Etc/GMT+5" else 1.0
    np.testing.assert_array_equal(got.values, [[0.0, 24.0 - lost], [539.5 - lost, np.nan]])
    assert got.attrs == {"unit": "h", "origin": "2024-03-09T17:00", "time_zone": zone}
    # The last one is in April, by UTC.
    with pytest.raises(ValueError, match="subject 1 has 2024-03-09 and 2024-03-10"):
        panel(frame_of(pd, dates(pd, texts, zone)), **ROLES, unit="M")
    alone = panel(frame_of(pd, dates(pd, texts, zone)).iloc[1:], **ROLES, unit="M")["time"]
    np.testing.assert_array_equal(alone.values, [0.0])
    assert alone.attrs == {"unit": "M", "origin": "2024-03-01"}


def test_the_same_wall_time_twice_is_two_times():
    # 02:30 comes twice on the night the clocks go back.
    aware = pd.Series(
        pd.to_datetime(["2024-10-27T00:30Z", "2024-10-27T01:30Z", "2024-10-27T00:30Z"])
    ).dt.tz_convert("Europe/Amsterdam")
    got = panel(frame_of(pd, aware), **ROLES, unit="h")["time"]
    np.testing.assert_array_equal(got.values, [[0.0, 1.0], [0.0, np.nan]])


@pytest.mark.parametrize("resolution", ["s", "ms", "us", "ns"])
def test_dates_come_back(resolution):
    when = pd.Series(
        pd.to_datetime(["2024-03-29 12:00:07", "1999-01-01 00:00:00", "2031-12-31 23:59:59"])
    )
    got = panel(frame_of(pd, when.dt.as_unit(resolution)), **ROLES, unit="s")["time"]
    seconds = got.values.ravel()[[1, 0, 2]].astype(int) * np.timedelta64(1, got.attrs["unit"])
    back = np.datetime64(got.attrs["origin"]) + seconds
    np.testing.assert_array_equal(back, when.to_numpy())


@pytest.mark.parametrize(
    "times",
    [
        pd.array(pd.to_datetime(STARTS), dtype="timestamp[ms][pyarrow]"),
        pd.array(pd.to_datetime(STARTS).date, dtype="date32[pyarrow]"),
    ],
)
def test_dates_of_arrow(times):
    got = panel(frame_of(pd, times), **ROLES, unit="D")["time"]
    np.testing.assert_array_equal(got.values, [[0.0, 1.0], [2.0, np.nan]])


def test_days_of_polars():
    days = pl.Series([datetime.date(2024, 2, 28), datetime.date(2024, 3, 1), None])
    got = panel(frame_of(pl, days.fill_null(days[0])), **ROLES, unit="D")["time"]
    np.testing.assert_array_equal(got.values, [[0.0, 2.0], [0.0, np.nan]])


def test_durations_keep_their_zero(table):
    spans = [datetime.timedelta(hours=h) for h in (1, 2, 36)]
    frame = table({"id": [1, 1, 2], "t": spans, "y": [1.0, 2.0, 3.0]})
    got = panel(frame, **ROLES, unit="D")["time"]
    np.testing.assert_allclose(got.values, [[1 / 24, 1 / 12], [1.5, np.nan]], rtol=1e-15)
    assert got.attrs == {"unit": "D"}


@pytest.mark.parametrize("library", [pd, pl])
def test_dates_need_a_unit(library):
    with pytest.raises(ValueError, match=r"unit: column 't' holds dates, which need one; .*'D'"):
        panel(frame_of(library, dates(library, STARTS)), **ROLES)


def test_durations_need_a_unit():
    with pytest.raises(ValueError, match="unit: column 't' holds durations"):
        panel(frame_of(pd, pd.to_timedelta([1, 2, 3], unit="h")), **ROLES)


@pytest.mark.parametrize("unit", ["ME", "days", ""])
def test_unit_is_none(unit):
    with pytest.raises(ValueError, match=f"unit: '{unit}' is not one of 'W', 'D'"):
        panel(frame_of(pd, dates(pd, STARTS)), **ROLES, unit=unit)


def test_numbers_are_never_rescaled(table):
    frame = table({"id": [1, 1, 2], "t": [1, 2, 3], "y": [1.0, 2.0, 3.0]})
    np.testing.assert_array_equal(panel(frame, **ROLES)["time"], [[1.0, 2.0], [3.0, np.nan]])
    with pytest.raises(ValueError, match=r"numbers already .* leave it out"):
        panel(frame, **ROLES, unit="h")


@pytest.mark.parametrize("library", [pd, pl])
def test_no_date_at_all(library):
    times = dates(library, STARTS)
    times[1] = None
    with pytest.raises(ValueError, match="time: column 't' has no value in row 1"):
        panel(frame_of(library, times), **ROLES, unit="h")


@pytest.mark.parametrize(
    "times",
    [
        STARTS,
        pd.Series([datetime.date(2024, 1, d) for d in (1, 2, 3)], dtype=object),
    ],
)
def test_dates_that_are_no_dates(times):
    with pytest.raises(TypeError, match=r"time: column 't' holds .* in row 0, .*to_datetime"):
        panel(frame_of(pd, times), **ROLES, unit="D")


def test_numbers_in_object_columns_are_times():
    times = pd.Series([1, 2.5, 3], dtype=object)
    np.testing.assert_array_equal(
        panel(frame_of(pd, times), **ROLES)["time"], [[1.0, 2.5], [3.0, np.nan]]
    )


def test_rows_in_any_order_have_the_same_origin():
    frame = frame_of(pd, dates(pd, STARTS))
    xr.testing.assert_identical(
        panel(frame[::-1], **ROLES, unit="h"), panel(frame, **ROLES, unit="h")
    )


@pytest.mark.parametrize("library", [pd, pl])
@pytest.mark.parametrize(
    "unit, steps, name, origin",
    [
        ("M", [0, 1, 13], "M", "2024-01-01"),
        ("Q", [0, 0, 4], "Q-DEC", "2024-01-01"),
        ("Q-FEB", [0, 0, 4], "Q-FEB", "2023-12-01"),
        ("Y", [0, 0, 1], "Y-DEC", "2024-01-01"),
        ("B", [0, 21, 282], "B", "2024-01-31"),
    ],
)
def test_dates_as_periods(library, unit, steps, name, origin):
    """Counted on a calendar: 2024-01-31 and 2024-02-29 are Wednesday and Thursday."""
    texts = ["2024-01-31 00:00", "2024-02-29 00:00", "2025-02-28 00:00"]
    frame = library.DataFrame({"id": [1, 2, 3], "t": dates(library, texts), "y": [1.0, 2.0, 3.0]})
    got = panel(frame, **ROLES, unit=unit)["time"]
    np.testing.assert_array_equal(got.values.ravel(), steps)
    assert got.attrs == {"unit": name, "origin": origin}
    if unit != "B":
        back = [pd.Period(origin, freq=name) + int(k) for k in got.values.ravel()]
        assert all(
            p.start_time <= pd.Timestamp(t) <= p.end_time for p, t in zip(back, texts, strict=True)
        )


def test_pandas_periods_need_no_unit():
    months = pd.PeriodIndex(["2024-03", "2024-05", "2024-02"], freq="M")
    got = panel(frame_of(pd, months), **ROLES)["time"]
    np.testing.assert_array_equal(got.values, [[1.0, 3.0], [0.0, np.nan]])
    assert got.attrs == {"unit": "M", "origin": "2024-02-01"}
    with pytest.raises(ValueError, match="periods of frequency 'M', one step each; leave unit='D'"):
        panel(frame_of(pd, months), **ROLES, unit="D")


@pytest.mark.parametrize("library", [pd, pl])
def test_a_date_stands_for_the_month_of_its_own_zone(library):
    texts = ["2024-04-01 00:30", "2024-06-01 00:30", "2024-03-01 00:30"]
    got = panel(frame_of(library, dates(library, texts, "Europe/Amsterdam")), **ROLES, unit="M")
    np.testing.assert_array_equal(got["time"].values, [[1.0, 3.0], [0.0, np.nan]])


@pytest.mark.parametrize("library", [pd, pl])
def test_two_dates_in_a_month(library):
    texts = ["2024-03-20 00:00", "2024-03-05 00:00", "2024-03-05 00:00"]
    message = r"time: subject 1 has 2024-03-20 and 2024-03-05 \(rows 0 and 1\) in one period .*'M'"
    with pytest.raises(ValueError, match=message):
        panel(frame_of(library, dates(library, texts)), **ROLES, unit="M")


def test_durations_are_no_months():
    with pytest.raises(ValueError, match="time: column 't' holds durations, and unit='M' counts"):
        panel(frame_of(pd, pd.to_timedelta([1, 2, 3], unit="h")), **ROLES, unit="M")
    frame = frame_of(pd, pd.PeriodIndex(["2024-03", "2024-05", "2024-02"], freq="M"))
    frame = frame.assign(amt=1.0, dur=pd.Timedelta(1, "D"))
    with pytest.raises(ValueError, match="column 'dur' holds durations, and unit='M' counts"):
        panel(frame, **ROLES, events={"amount": "amt", "duration": "dur"})
