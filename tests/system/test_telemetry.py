import dataclasses
import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sr_cli.system.telemetry import (
    EnergyCounter,
    EnergyMeter,
    EnergyReport,
    Reading,
    Tally,
    device_reader,
    joules_between,
    rapl,
)
from sr_cli.system.telemetry.probe import Moment, averages

MIB = 2**20
GPU = "NVIDIA GeForce RTX 3060"

# The report's figure 8: nvidia-smi before the training, and during it.
IDLE = Reading(GPU, utilization=0.0, memory_used=72 * MIB, memory_total=12845 * MIB, power=15.0, temperature=38.0)
RUNNING = Reading(
    GPU, utilization=0.98, memory_used=2715 * MIB, memory_total=12845 * MIB, power=126.0, temperature=66.0
)


def tallied(readings, *, every=1.0):
    """The report of readings at a fixed interval, the first of them idle."""
    idle, *running = readings
    tally = Tally(idle, time=100.0)
    for number, reading in enumerate(running, start=1):
        tally.add(reading, time=100.0 + number * every)
    return tally.report()


def counted(joules, **others):
    return Reading(GPU, counters=(EnergyCounter(joules),), **others)


def test_an_hour_like_the_report_s_training():
    report = tallied([IDLE] + [RUNNING] * 3600)
    assert report.seconds == report.measured_seconds == pytest.approx(3600)
    assert report.watt_hours == pytest.approx((126 * 3599 + (15 + 126) / 2) / 3600)
    assert report.mean_watts == pytest.approx(126, rel=1e-3)
    assert (report.idle_watts, report.peak_watts) == (15, 126)
    assert (report.idle_memory, report.mean_memory, report.peak_memory) == (72 * MIB, 2715 * MIB, 2715 * MIB)
    assert report.mean_utilization == pytest.approx(0.98)
    assert report.method == "power over time"
    assert report.grams_co2e(56) == pytest.approx(0.126 * 56, rel=1e-3)


def test_power_that_grows_evenly_is_integrated_exactly():
    report = tallied([Reading(GPU, power=10.0 * step) for step in range(11)], every=2.0)
    assert report.watt_hours == pytest.approx(50 * 20 / 3600)


def test_a_counter_is_believed_more_than_power():
    report = tallied([counted(1000, power=15.0), counted(1100, power=126.0), counted(1200, power=126.0)])
    assert report.watt_hours == pytest.approx(200 / 3600)
    assert report.mean_watts == pytest.approx(100)
    assert report.peak_watts == 126
    assert report.method == "energy counter"


def test_a_device_that_tells_nothing_has_no_energy_rather_than_none():
    report = tallied([Reading("CPU", memory_used=MIB)] * 5)
    assert report.seconds == pytest.approx(4)
    assert report.mean_memory == MIB
    figures = (report.idle_watts, report.mean_watts, report.peak_watts, report.watt_hours, report.method)
    assert figures == (None,) * 5
    assert report.grams_co2e(400) is None
    assert report.measured_seconds == 0


def test_a_missing_reading_is_bridged_by_its_neighbors():
    gap = Reading(GPU)
    assert tallied([RUNNING, RUNNING, gap, gap, RUNNING]).watt_hours == tallied([RUNNING] * 5).watt_hours
    assert (
        tallied([counted(0), gap, counted(50)]).watt_hours == tallied([counted(0), counted(20), counted(50)]).watt_hours
    )


def test_what_is_not_covered_by_readings_is_told():
    report = tallied([IDLE, RUNNING, RUNNING, Reading(GPU), Reading(GPU)])
    assert (report.seconds, report.measured_seconds) == (pytest.approx(4), pytest.approx(2))
    assert report.mean_watts == pytest.approx((126 + (15 + 126) / 2) / 2)


def test_a_counter_that_was_reset_falls_back_to_power():
    report = tallied([counted(1000, power=100.0), counted(1100, power=100.0), counted(5, power=100.0)])
    assert report.watt_hours == pytest.approx(200 / 3600)
    assert report.method == "energy counter and power over time"


def test_a_counter_that_stands_still_measures_nothing():
    still = Reading("CPU in a virtual machine", counters=(EnergyCounter(7, 100),))
    assert tallied([still] * 4).watt_hours is None


def test_a_run_shorter_than_an_interval_is_its_first_and_last_reading():
    tally = Tally(counted(10, power=15.0), time=0.0)
    tally.add(counted(11, power=126.0), time=0.01)
    assert tally.report().watt_hours == pytest.approx(1 / 3600)
    assert tally.report().mean_watts == pytest.approx(100)


def test_a_run_of_no_length_has_consumed_an_unknown_amount():
    tally = Tally(IDLE, time=0.0)
    assert tally.report().watt_hours is None
    tally.add(RUNNING, time=0.0)
    assert tally.report().watt_hours is None
    assert tally.report().mean_memory is None


@given(st.lists(st.floats(0.001, 99), min_size=1, max_size=20), st.floats(0, 99.999))
def test_a_counter_s_wrap_around_loses_no_energy(advances, start):
    values = [value % 100 for value in itertools.accumulate(advances, initial=start)]
    report = tallied([Reading("CPU", counters=(EnergyCounter(value, 100),)) for value in values])
    assert report.watt_hours == pytest.approx(sum(advances) / 3600, abs=1e-9)


def test_each_of_several_counters_wraps_for_itself():
    before = (EnergyCounter(99, 100), EnergyCounter(10, 50))
    after = (EnergyCounter(1, 100), EnergyCounter(15, 50))
    assert joules_between(before, after) == 7
    assert joules_between(before, after[:1]) is None


readings = st.builds(
    Reading,
    st.just(GPU),
    utilization=st.floats(0, 1),
    memory_used=st.integers(0, 2**34),
    power=st.floats(1, 400),
)


@given(st.lists(readings, min_size=3, max_size=12), st.data())
@pytest.mark.slow
def test_the_parts_of_a_run_add_up_to_the_whole(series, data):
    cut = data.draw(st.integers(1, len(series) - 2))
    whole = tallied(series)
    joined = tallied(series[: cut + 1]).plus(tallied(series[cut:]))
    for field in dataclasses.fields(EnergyReport):
        # Memory's mean is a whole number of bytes.
        slack = 1 if field.name == "mean_memory" else 1e-9
        expected = getattr(whole, field.name)
        if isinstance(expected, float | int):
            expected = pytest.approx(expected, abs=slack)
        assert getattr(joined, field.name) == expected, field.name


def test_a_part_that_was_not_measured_adds_its_time_only():
    measured = tallied([RUNNING] * 11)
    unknown = EnergyReport(device="AMD EPYC", seconds=5)
    for both in (measured.plus(unknown), unknown.plus(measured)):
        assert both.watt_hours == measured.watt_hours
        assert both.mean_watts == pytest.approx(126)
        assert (both.seconds, both.measured_seconds) == (pytest.approx(15), pytest.approx(10))
    assert measured.plus(unknown).device == f"{GPU} and AMD EPYC"
    assert unknown.plus(unknown).watt_hours is None
    assert measured.plus(measured).device == GPU


def test_a_report_survives_a_training_state(tmp_path):
    report = tallied([IDLE, RUNNING, RUNNING])
    torch.save({"energy": dataclasses.asdict(report)}, tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert EnergyReport(**state["energy"]) == report
    assert EnergyReport(**json.loads(json.dumps(dataclasses.asdict(report)))) == report


@pytest.mark.parametrize("intensity", [-1.0, float("nan"), float("inf")])
def test_a_carbon_intensity_that_is_no_amount_is_refused(intensity):
    with pytest.raises(ValueError, match="carbon intensity"):
        tallied([IDLE, RUNNING]).grams_co2e(intensity)


def zone(powercap, folder, name, microjoules, limit=1000):
    """Write a powercap zone as the kernel shows it."""
    (powercap / folder).mkdir(parents=True)
    (powercap / folder / "name").write_text(f"{name}\n")
    (powercap / folder / "energy_uj").write_text(f"{microjoules}\n")
    (powercap / folder / "max_energy_range_uj").write_text(f"{limit}\n")


def test_rapl_sums_packages_and_memory_and_counts_nothing_twice(tmp_path):
    zone(tmp_path, "intel-rapl:0", "package-0", 2_000_000, 262_143_328_850)
    zone(tmp_path, "intel-rapl:0:0", "core", 1_000_000)
    zone(tmp_path, "intel-rapl:0:1", "dram", 500_000)
    zone(tmp_path, "intel-rapl:1", "package-1", 3_000_000)
    zone(tmp_path, "intel-rapl:2", "psys", 9_000_000)
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 2_000_000)
    (tmp_path / "intel-rapl").mkdir()
    counters = rapl.counters(tmp_path)
    assert [counter.joules for counter in counters] == [2.0, 0.5, 3.0]
    assert counters[0].range == pytest.approx(262_143.328850)
    assert rapl.status(tmp_path).startswith("readable")


def test_rapl_is_unavailable_unless_every_package_can_be_read(tmp_path):
    zone(tmp_path, "intel-rapl:0", "package-0", 2_000_000)
    zone(tmp_path, "intel-rapl:1", "package-1", "")
    assert rapl.counters(tmp_path) == ()
    assert rapl.status(tmp_path).startswith("unavailable")


def test_a_machine_without_rapl_says_so(tmp_path):
    assert rapl.counters(tmp_path / "absent") == ()
    assert rapl.status(tmp_path / "absent").startswith("unavailable")


def test_the_cpu_tells_its_name_memory_and_utilization():
    reading = device_reader("cpu")()
    assert reading.name
    assert 0 <= reading.utilization <= 1
    assert 0 < reading.memory_used < reading.memory_total
    assert reading.power is None or reading.power > 0


def test_a_cpu_s_figures_are_averages_between_two_moments():
    before = Moment(time=10.0, busy=100.0, total=400.0, counters=(EnergyCounter(990.0, 1000.0),))
    after = Moment(time=12.0, busy=103.0, total=404.0, counters=(EnergyCounter(80.0, 1000.0),))
    assert averages(before, after) == (pytest.approx(0.75), pytest.approx(45))
    assert averages(before, after._replace(counters=())) == (pytest.approx(0.75), None)
    assert averages(before, before._replace(time=12.0)) == (None, None)
    assert averages(before, after._replace(busy=99.0))[0] == 0


def recorded(*readings):
    """Reads a recorded series, then its last reading for ever."""
    return itertools.chain(readings, itertools.repeat(readings[-1])).__next__


def test_a_meter_reads_the_idle_device_first_and_then_the_running_one():
    enough = threading.Event()
    series = iter([counted(0, power=15.0, memory_used=72 * MIB)])
    joules = itertools.count(100, 100)

    def read():
        reading = next(series, None) or counted(next(joules), power=126.0, memory_used=2715 * MIB)
        if reading.counters[0].joules >= 500:
            enough.set()
        return reading

    with EnergyMeter("cuda:0", interval=0.001, read=read) as meter:
        assert enough.wait(timeout=60)
    report = meter.report()
    assert meter.idle.power == report.idle_watts == 15
    assert meter.latest.power == report.peak_watts == 126
    assert (report.idle_memory, report.peak_memory) == (72 * MIB, 2715 * MIB)
    assert report.watt_hours == pytest.approx(meter.latest.counters[0].joules / 3600)
    assert meter.report() == report


def test_a_meter_measures_a_run_shorter_than_its_interval():
    with EnergyMeter("cuda:0", interval=3600, read=recorded(counted(0), counted(36))) as meter:
        pass
    assert meter.report().watt_hours == pytest.approx(0.01)


def test_a_meter_outlives_a_run_that_fails():
    meter = EnergyMeter("cuda:0", interval=3600, read=recorded(counted(0), counted(36)))
    with pytest.raises(MemoryError), meter:
        raise MemoryError
    assert meter.report().watt_hours == pytest.approx(0.01)


def test_a_meter_adds_what_the_earlier_parts_of_the_run_consumed():
    earlier = tallied([IDLE] + [RUNNING] * 10)
    with EnergyMeter("cuda:0", interval=3600, earlier=earlier, read=recorded(counted(0), counted(36))) as meter:
        assert meter.report().watt_hours == pytest.approx(earlier.watt_hours + 0.01)
    assert meter.report().watt_hours == pytest.approx(earlier.watt_hours + 0.01)
    assert meter.report().idle_watts == 15
    assert meter.report().seconds > earlier.seconds


def test_a_meter_reads_this_machine_s_cpu_and_leaves_no_thread():
    threads = threading.active_count()
    with EnergyMeter("cpu", interval=0.01) as meter:
        sum(range(100_000))
    report = meter.report()
    assert threading.active_count() == threads
    assert report.device == device_reader("cpu")().name
    assert report.seconds > 0
    assert report.peak_memory >= report.mean_memory > 0
    assert report.watt_hours is None or report.watt_hours > 0


def python(code, **environment):
    """Run Python code in a process of its own and decode the JSON that it prints."""
    result = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return json.loads(result.stdout)


def test_reading_the_cpu_needs_no_torch():
    code = "import json, sys; from sr_cli.system.telemetry import device_reader; device_reader('cpu')(); "
    code += "print(json.dumps([*sys.modules]))"
    modules = python(code)
    assert "psutil" in modules
    assert "torch" not in modules


ASK_NVIDIA = """
import dataclasses, json
from sr_cli.system.telemetry import nvidia
handle = nvidia.handle("5f1f2a3b-0000-1111-2222-333344445555")
print(json.dumps({
    "absence": nvidia.absence(),
    "gpus": [dataclasses.asdict(gpu) for gpu in nvidia.gpus()],
    "found": handle and nvidia.read(handle).name,
    "lost": nvidia.handle("00000000-0000-0000-0000-000000000000"),
}))
"""


@pytest.fixture(scope="module")
def fake_driver(tmp_path_factory):
    compiler = shutil.which("cc")
    if not compiler or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler on Linux to make a stand-in for the NVIDIA driver")
    folder = tmp_path_factory.mktemp("driver")
    source = Path(__file__).parents[1] / "support" / "fake_nvml.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", source], check=True)
    return folder


def test_nvml_s_answers_become_shares_bytes_watts_and_joules(fake_driver):
    told = python(ASK_NVIDIA, LD_LIBRARY_PATH=str(fake_driver))
    new, _ = told["gpus"]
    assert told["absence"] is None
    assert told["found"] == new["name"] == GPU
    assert told["lost"] is None
    assert (new["utilization"], new["power"], new["temperature"]) == (0.98, 126, 66)
    assert (new["memory_used"], new["memory_total"]) == (2715 * MIB, 12845 * MIB)
    assert new["driver"] == "470.141.03"
    assert new["counters"][0]["joules"] == pytest.approx(5063)


def test_a_gpu_that_tells_only_its_name_has_no_other_figure(fake_driver):
    _, old = python(ASK_NVIDIA, LD_LIBRARY_PATH=str(fake_driver))["gpus"]
    assert old.pop("name") == "NVIDIA GeForce 210"
    assert old.pop("driver") == "470.141.03"
    assert old.pop("counters") == []
    assert set(old.values()) == {None}


def test_without_a_driver_there_is_no_gpu_and_no_error(tmp_path):
    (tmp_path / "libnvidia-ml.so.1").write_text("no library")
    told = python(ASK_NVIDIA, LD_LIBRARY_PATH=str(tmp_path))
    if told["absence"] is None:
        pytest.skip("this machine has an NVIDIA driver")
    assert (told["gpus"], told["found"], told["lost"]) == ([], None, None)


MEASURED = EnergyReport(
    device=GPU,
    seconds=3600,
    idle_watts=15,
    mean_watts=126,
    peak_watts=131.4,
    idle_memory=72_000_000,
    mean_memory=2_700_000_000,
    peak_memory=2_715_000_000,
    mean_utilization=0.98,
    watt_hours=126,
    measured_seconds=3600,
    method="energy counter",
)


def test_energy_is_shown_for_the_run_per_epoch_and_as_co2e():
    assert dict(MEASURED.rows(epochs=5, g_per_kwh=56)) == {
        "device": GPU,
        "before": "power 15 W, memory 72 MB",
        "mean": "power 126 W, memory 2700 MB",
        "peak": "power 131 W, memory 2715 MB",
        "utilization": "98%",
        "energy": "126 Wh in 1:00:00 (energy counter)",
        "energy per epoch": "25.2 Wh",
        "CO2e": "7.06 g at 56 g/kWh",
    }
    partly = dataclasses.replace(MEASURED, measured_seconds=900)
    assert dict(partly.rows())["energy"].endswith("(energy counter, measured for 25% of it)")


def test_what_was_not_measured_is_unavailable_and_never_zero():
    rows = dict(EnergyReport(device="AMD EPYC", seconds=0.0).rows(epochs=5, g_per_kwh=56))
    assert rows["energy"] == rows["energy per epoch"] == rows["utilization"] == "unavailable"
    assert rows["before"] == "power unavailable, memory unavailable"
    assert rows["CO2e"] == "unavailable at 56 g/kWh"


def test_a_reading_s_summary_leaves_out_what_the_device_does_not_report():
    assert Reading("CPU", utilization=0.5, memory_used=1_200_000).summary() == "CPU, 50%, 1.2 MB"
    assert Reading("GPU", power=126.0, temperature=66).summary() == "GPU, 126 W, 66 °C"
