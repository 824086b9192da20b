"""Synthetic days agree with days recorded in Grid2Op's chronics, within stated bands."""

import pytest
from support import time_series_statistics

CASES = ["case14", pytest.param("case118", marks=pytest.mark.slow)]
# For each statistic, how much the synthetic one may differ: "±" absolute, "×" at most by a factor.
# The two recordings are a January and a July, on different grids and with different noise: bands
# cover what they differ by between themselves.
BANDS = {
    "load, lowest over highest of the mean weekday": ("±", 0.04),
    "load, hour of the lowest": ("±", 1.0),
    "load, level at 12 h over the day's mean": ("±", 0.03),
    "load, level at 19 h over the day's mean": ("±", 0.03),
    "load, Saturday and Sunday over other days": ("±", 0.04),
    "load, standard deviation of a day's mean": ("×", 2.2),
    "load, autocorrelation of the total, 5 min": ("±", 0.004),
    "load, autocorrelation of the total, 1 h": ("±", 0.05),
    "load, autocorrelation of the total, 6 h": ("±", 0.25),
    "load, autocorrelation of one, 5 min": ("±", 0.01),
    "load, autocorrelation of one, 1 h": ("±", 0.05),
    "load, ramp of the total in 5 min, std": ("×", 1.2),
    "load, ramp of the total in 5 min, 99 %": ("×", 1.25),
    "load, ramp of the total in 1 h, std": ("×", 1.2),
    "load, ramp of one in 5 min, std": ("×", 1.15),
    "load, correlation of two": ("±", 0.17),
    "load, correlation of two, of 5 min ramps": ("±", 0.04),
    "load, one about the mean weekday, slow, std": ("×", 1.5),
    "load, reactive over active, std": ("×", 1.2),
    "wind, mean": ("±", 0.08),
    "wind, autocorrelation, 5 min": ("±", 0.005),
    "wind, autocorrelation, 1 h": ("±", 0.03),
    "wind, autocorrelation, 6 h": ("±", 0.2),
    "wind, ramp in 5 min, std": ("×", 2.0),
    "wind, ramp in 5 min, 99 %": ("×", 2.6),
    "wind, correlation of two": ("±", 0.25),
    "solar, mean": ("±", 0.03),
    "solar, std": ("×", 1.25),
    "solar, highest": ("±", 0.12),
    "solar, autocorrelation, 5 min": ("±", 0.005),
    "solar, autocorrelation, 1 h": ("±", 0.05),
    "solar, autocorrelation, 6 h": ("±", 0.15),
    "solar, ramp in 5 min, std": ("×", 2.5),
    "solar, correlation of two": ("±", 0.1),
    "solar, share of the day with sun": ("±", 0.08),
    "solar, mean at 12 h": ("±", 0.08),
}
# Recorded plants fill in by a month of one scenario; synthetic ones see calm and storm.
WIDER = ("wind, std", "wind, highest")


@pytest.mark.parametrize("case", CASES)
def test_synthetic_days_are_like_recorded_ones(case):
    recorded, drawn = time_series_statistics.recorded(case), time_series_statistics.drawn(case)
    assert recorded.keys() == drawn.keys()
    astray = []
    for name in recorded.keys() & BANDS.keys():
        kind, width = BANDS[name]
        real, made = recorded[name], drawn[name]
        within = abs(made - real) <= width if kind == "±" else 1 / width <= made / real <= width
        if not within:
            astray.append(f"{name}: recorded {real:.4g}, synthetic {made:.4g}, band {kind}{width}")
    assert not astray, "\n".join(astray)


@pytest.mark.parametrize("case", CASES)
def test_synthetic_wind_covers_more_than_was_recorded(case):
    recorded, drawn = time_series_statistics.recorded(case), time_series_statistics.drawn(case)
    for name in WIDER:
        assert drawn[name] >= recorded[name], name
    assert drawn["wind, std"] < 0.4


def test_the_band_of_ramps_fails_for_days_without_noise():
    name = "load, ramp of one in 5 min, std"
    width = BANDS[name][1]
    real = time_series_statistics.recorded("case14")[name]
    _, assets = time_series_statistics.grid_and_fleet("case14")
    week = time_series_statistics.read("case14", "educ_case14_redisp")
    calm = week.replace(load_p_mw=time_series_statistics.smooth(week.load_p_mw))
    assert 1 / width <= time_series_statistics.measure(week, assets)[name] / real <= width
    assert not 1 / width <= time_series_statistics.measure(calm, assets)[name] / real <= width
