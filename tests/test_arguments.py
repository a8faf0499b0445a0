"""Arrays, times, counts and indices of unusual kind: right in all places, or refused by name."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hopfax as hx

pytestmark = pytest.mark.usefixtures("as_a_user_runs_it")

XI = np.array([[1, -1, 1, -1], [1, 1, -1, -1]])
MASKED = np.ma.masked_array([0.0, 1.0, 2.0], [False, True, False])
SECONDS = np.array([0, 5, 9], "timedelta64[s]")
DATES = np.array(["2020-01-01", "2020-01-02", "2020-01-03"], "datetime64[D]")


class Quantity:
    """As those of pint: NumPy takes the numbers, and drops the unit."""

    def __init__(self, magnitude, units):
        self.magnitude, self._units = magnitude, units

    @property
    def units(self):
        return self._units

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.magnitude, dtype)


def _network():
    return hx.TwoTimescaleHopfield(hx.Patterns(XI), hx.cyclic(2), kappa=5.0, tau=20.0, bias=0.01)


def _exists(kappa):
    return hx.theory.sequential.fixed_points(kappa).exists


NETWORK = _network()
START = dict(saliency=[4.0, 0.0])
#: Places that take numbers: the name of the argument, and a call with a value for three of them.
PLACES = {
    "ts": lambda v: hx.Point(NETWORK, START, v),
    "state": lambda v: hx.theory.sequential.saliency_map(v, 5.0, P=4),
    "kappa": lambda v: hx.theory.sequential.critical_gain(3, tau=v, bias=0.1),
    "time": lambda v: hx.Events([0, 1, 2], v),
    "grid": lambda v: hx.sweep_plan(_exists, {"kappa": v}),
    "times": lambda v: hx.losses.switch_times(v, init=START),
    "edges": lambda v: hx.Pulses(v, np.ones((2, 4))),
    "xi": lambda v: hx.Patterns([v, v]),
    "log_rate": lambda v: hx.nn.Modes(v),
    "phi": lambda v: hx.theory.rate.contraction_rate(hx.Logistic(), v),
    "images": lambda v: hx.patterns.from_images([v, v]),
    "low": lambda v: hx.constraints.Box(v, 9.0),
    "order": lambda v: hx.design_cycle([0, 1, 2], v),
    "predicted": lambda v: hx.theory.dense.map_step(hx.Power(3), v, 0.5),
    "values": lambda v: hx.patterns.active([v, v], 0.5),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("value", "word"),
    [
        (MASKED, "masked"),
        ([1.0, np.ma.masked, 2.0], "masked"),
        (SECONDS, r"timedelta64\(1, \"s\"\)"),
        (DATES, "dates.*timedelta64"),
        (np.array([1.0, 2.0 + 1e-9j, 3.0]), "complex128.*real"),
        (Quantity([1.0, 2.0, 3.0], "ms"), "unit ms"),
        ([Quantity(1.0, "ms")] * 3, "unit ms"),
        (["1", "2", "3"], "dtype"),
        ([1.0, None, 2.0], "None at index"),
        ([[1.0], [1.0, 2.0]], "rectangular"),
    ],
)
def test_no_place_takes_what_is_no_real_number(place, value, word):
    with pytest.raises((ValueError, TypeError), match=f"`.*`.*{word}"):
        PLACES[place](value)


@pytest.mark.parametrize(
    "kind",
    [
        lambda v: v.astype(">f8"),
        lambda v: v.astype(np.longdouble),
        lambda v: v.astype(np.float16),
        lambda v: v.astype(">i4"),
        lambda v: v.astype(np.uint64),
        lambda v: v.astype(object),
        lambda v: memoryview(v),
        lambda v: tuple(v.tolist()),
        lambda v: [jnp.asarray(x) for x in v],
        lambda v: np.ma.masked_array(v, [False] * 3),
        lambda v: Quantity(v, "dimensionless"),
        lambda v: pytest.importorskip("pandas").Series(v),
        lambda v: pytest.importorskip("xarray").DataArray(v, attrs={"units": "ms"}),
    ],
)
def test_numbers_of_any_kind_are_numbers(kind):
    values = np.array([0.0, 5.0, 9.0])
    events = hx.Events([0, 1, 2], kind(values))
    np.testing.assert_array_equal(events.time, values)
    assert events.time.dtype == np.float64 or kind(values).dtype == np.float32
    gain = hx.theory.sequential.saliency_map(kind(values + 2), 5.0)
    np.testing.assert_allclose(gain, 5.0 * (1 - 1 / (values + 2)), rtol=1e-15)
    np.testing.assert_array_equal(hx.Point(NETWORK, START, kind(values)).ts, values)


def test_a_list_of_traced_numbers_is_an_array():
    made = jax.jit(lambda z: NETWORK.init(saliency=[z, 0.0]).saliency)(4.0)
    np.testing.assert_array_equal(made, [4.0, 0.0])


@pytest.mark.parametrize(
    ("memory", "word"),
    [
        ([0, 2**32 + 1, 2], "4294967297 at index 1"),
        (np.array([0, 2**63, 2], np.uint64), "9223372036854775808 at index 1"),
        ([0, -1, 2], "-1 at index 1"),
        ([0, 1.5, 2], "1.5 at index 1"),
        ([0, 2.0**53 + 2, 2], "index 1"),
        ([0, math.nan, 2], "nan at index 1"),
        ([False, True, False], "dtype is bool"),
        (np.ma.masked_array([0, 1, 2], [0, 0, 1]), "masked"),
    ],
)
def test_an_index_never_wraps(memory, word):
    with pytest.raises((ValueError, TypeError), match=f"`memory`.*{word}"):
        hx.Events(memory)
    with pytest.raises((ValueError, TypeError), match=f"`order`.*{word}"):
        hx.design_cycle(memory, 30.0)
    if memory[1] != -1:  # which is any memory there
        with pytest.raises((ValueError, TypeError), match=f"`order`.*{word}"):
            hx.losses.switch_times([1.0, 2.0, 3.0], init=START, order=memory)
    assert hx.Events([0.0, 2.0, 1.0]).memory.tolist() == [0, 2, 1]


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8, np.array, jnp.int32, jnp.asarray])
def test_a_count_of_any_kind_is_a_count(kind):
    key, two = jax.random.key(0), kind(2)
    assert hx.cyclic(two).shape == (2, 2)
    assert hx.patterns.random(key, two, kind(4)).xi.shape == (2, 4)
    assert hx.GeneratedPatterns(key, two, kind(4)).P == 2
    assert hx.Power(kind(3)).order == 3
    assert hx.theory.sequential.saliency_orbit(4.0, 5.0, two).shape == (3,)
    assert hx.theory.sequential.critical_gain(kind(4)) == hx.theory.sequential.critical_gain(4)
    assert len(hx.designs.sobol({"kappa": (2.0, 6.0)}, two)[("kappa",)][0]) == 2
    assert hx.nn.ExponentialEuler(two).steps == 2 and type(hx.nn.ExponentialEuler(two).steps) is int
    memory = hx.DenseMemory(hx.Patterns(XI), hx.Power(3))
    assert hx.iterate(memory, memory.init(XI[0]), two).overlaps.shape == (3, 2)


@pytest.mark.parametrize("value", [True, 2.0, "2", None, [2], 2 + 0j, np.timedelta64(2, "s")])
def test_what_is_no_count_is_refused_alike(value):
    key = jax.random.key(0)
    memory = hx.DenseMemory(hx.Patterns(XI), hx.Power(3))
    for name, call in {
        "P": lambda: hx.cyclic(value),
        "N": lambda: hx.patterns.random(key, 2, value),
        "order": lambda: hx.Power(value),
        "steps": lambda: hx.iterate(memory, memory.init(XI[0]), value),
        "points": lambda: hx.designs.random({"kappa": (2.0, 6.0)}, value),
        "tile": lambda: hx.sweep(_exists, {"kappa": [4.0]}, tile=value or False),
        "horizon": lambda: hx.theory.dense.apparent_capacity(hx.Power(3), value),
    }.items():
        with pytest.raises(TypeError, match=rf"`{name}` must be a whole number.*\(a Python int\)"):
            call()


def test_an_axis_that_its_dtype_does_not_hold_is_refused():
    with jax.enable_x64(False), pytest.raises(ValueError, match=r"`grid`.*int32 does not"):
        hx.sweep(_exists, {"kappa": [4, 2**32 + 4]})


def test_a_number_that_is_too_large_for_its_float_is_refused():
    with jax.enable_x64(False), pytest.raises(ValueError, match=r"`gain`.*float32 holds.*1e\+60"):
        hx.Tanh(np.float64(1e60))


def test_a_part_of_a_start_has_its_shape():
    point = hx.Point(NETWORK, START, [0.0, 1.0])
    with pytest.raises(ValueError, match=r"`init.saliency` must have shape.*\(2,\)"):
        point({"init.saliency": [1.0]})
    with pytest.raises(TypeError, match="`kappa`.*complex"):
        point({"kappa": 5.0 + 1j})


@pytest.mark.parametrize("row", ["25.0,2,1", "0,25.0,2", "25,0,2"])
def test_a_row_with_a_column_more_is_refused_by_its_line(tmp_path, row):
    file = tmp_path / "events.csv"
    file.write_text(f"time,memory\n0.0,0\n{row}\n50.0,1\n")
    with pytest.raises(ValueError, match="line 3: needs 2 columns"):
        hx.losses.read_events(file)
