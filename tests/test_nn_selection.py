"""Selection among linear memories: filters, residuals, selectors, the layer, its exact weights."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from helpers import assert_close

import hopfax as hx
from hopfax.examples import constructed, selection, tasks

nn = hx.nn
MODES = ("recurrent", "scan")
EVERY_MODE = pytest.mark.parametrize("mode", MODES)


def network(**options):
    """Two memories of four neurons; each calls itself."""
    patterns = hx.patterns.hadamard([1, 2], 4)
    return hx.TwoTimescaleHopfield(patterns, jnp.eye(2), kappa=2.0, tau=20.0, **options)


def selectors():
    """One of each, among two slots, for inputs of size 4."""
    keys = jr.split(jr.key(3), 3)
    return {
        "residual": nn.ResidualSelector(4, 2, taps=3, modes=2, inference=True, key=keys[0]),
        "saliency": nn.SaliencySelector(jr.normal(keys[1], (2, 4))),
        "threshold": nn.SaliencySelector(
            jr.normal(keys[2], (2, 4)), form="threshold", threshold=0.5
        ),
        "two timescales": nn.TwoTimescaleSelector(network(activation=hx.Tanh(2.0))),
    }


# -- filters ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("angle", [None, jnp.array([0.1, 2.0, 3.1])], ids=["real", "complex"])
def test_both_forms_of_a_filter_are_the_sum_over_the_past(angle):
    nu = jnp.log(jnp.array([1e-5, 0.03, 1.2]))
    modes = nn.Modes(nu, angle, scaled=angle is not None)
    T = 75  # no power of two
    vs = jr.normal(jr.key(0), (T, *modes.init().shape))
    got = {mode: eqx.filter_jit(modes.states)(vs, mode) for mode in MODES}

    lam = np.exp(-np.exp(np.asarray(nu, np.longdouble))).astype(complex)
    scale = 1.0
    if angle is not None:
        scale = np.sqrt(1 - np.abs(lam) ** 2)
        lam = lam * np.exp(1j * np.asarray(angle))
    drive = np.asarray(vs)
    drive = drive if angle is None else drive[:, 0] + 1j * drive[:, 1]
    expected = np.array(
        [sum(lam ** (k - j) * scale * drive[j] for j in range(k + 1)) for k in range(T)]
    )
    real, imaginary = np.real(expected), np.imag(expected)
    parts = real if angle is None else np.stack([real, imaginary], 1)
    for mode in MODES:
        assert_close(got[mode], parts, 1e-10, "sums of 75 terms in float64")


def test_powers_near_one_are_accurate_in_single_precision():
    nu = np.log(np.float32(1e-5))
    powers = nn.Modes(jnp.array([nu], jnp.float32)).powers(20000)[:, 0]
    assert powers.dtype == jnp.float32
    exact = np.exp(-np.arange(20001) * np.exp(np.float64(nu)))
    # k e^nu <= 0.2 is known to a few units in the last place. (exp(-e^nu))^k is off by 3e-4: the
    # decay itself is rounded by 3e-8, which counts k times.
    assert_close(powers, exact, 5e-7, "a few roundings")


def test_a_linear_system_is_its_impulse_response():
    system = nn.LinearSystem(2, 3, taps=4, modes=5, key=jr.key(1))
    outputs = eqx.filter_jit(system.outputs)
    us = np.random.default_rng(2).normal(size=(20, 2))
    impulses = [np.asarray(outputs(jnp.zeros((20, 2)).at[0, i].set(1.0))) for i in range(2)]
    responses = np.stack(impulses, axis=2)
    expected = np.array([sum(responses[k - j] @ us[j] for j in range(k + 1)) for k in range(20)])

    @jax.jit
    def replay(us):
        return jax.lax.scan(lambda state, u: system.step(state, u), system.init(), us)[1]

    assert_close(replay(us), expected, 1e-12, "sums of 20 terms")
    for mode in MODES:
        assert_close(outputs(jnp.asarray(us), mode), expected, 1e-12, "sums of 20 terms")


# -- residual generators ---------------------------------------------------------------------------

ROTATION = np.array([[0.9, 0.2], [-0.2, 0.9]])


def test_a_deadbeat_observer_leaves_no_residual_after_n_steps():
    C = np.array([1.0, 0.0])
    gain = nn.deadbeat_gain(ROTATION, C)
    assert_close(gain, np.array([1.8, 3.85]), 1e-12, "two by two by hand")
    closed = ROTATION - np.outer(gain, C)
    assert_close(closed @ closed, np.zeros((2, 2)), 1e-12, "nilpotent")
    x, guess, residuals = np.array([3.0, -2.0]), np.zeros(2), []
    for u in np.sin(np.arange(8.0)):  # any input
        residuals.append(C @ (x - guess))
        guess = ROTATION @ guess + np.array([0.3, 1.0]) * u + gain * residuals[-1]
        x = ROTATION @ x + np.array([0.3, 1.0]) * u
    assert abs(residuals[0]) > 1
    assert abs(residuals[1]) > 1
    assert_close(residuals[2:], np.zeros(6), 1e-12, "zero from step n = 2 on")


@pytest.mark.parametrize(
    ("mode", "words"), [(1.0, "not detectable"), (-1.2, "not detectable"), (0.5, "decays")]
)
def test_no_observer_sees_a_mode_that_the_output_does_not(mode, words):
    A = np.diag([0.3, mode])
    with pytest.raises(ValueError, match=words) as error:
        nn.deadbeat_gain(A, [1.0, 0.0])
    assert f"{mode:.4g}" in str(error.value)


@pytest.mark.parametrize(
    ("own", "other", "energy"), [(0.3, 0.7, 0.1633), (0.3, 1.2, 1.5823), (0.7, 1.2, 0.7290)]
)
def test_an_annihilator_silences_its_own_sinusoid_only(own, other, energy):
    taps = nn.annihilator([np.exp(1j * own), np.exp(-1j * own)])
    assert_close(taps, np.array([1, -2 * np.cos(own), 1]), 1e-12, "closed form")
    k = np.arange(40000)
    residual = np.convolve(1.5 * np.sin(own * k + 0.4), taps, "valid")
    assert_close(residual, np.zeros(k.size - 2), 1e-11, "rounding of sin at large arguments")
    residual = np.convolve(1.5 * np.sin(other * k + 0.4), taps, "valid")
    exact = 2 * 1.5**2 * (np.cos(other) - np.cos(own)) ** 2
    assert_close((residual**2).mean(), exact, 1e-3, "1/T for T = 40000, times ten")
    assert_close(exact, energy, 5e-5, "four digits")


def test_parity_relations_hold_for_all_data_without_fault():
    C = np.array([[1.0, 0.5]])
    relations = nn.parity_relations(ROTATION, C, 4)
    assert relations.shape == (2, 4)
    x, ys = np.array([1.0, 2.0]), []
    for _ in range(4):
        ys.append(C @ x)
        x = ROTATION @ x
    assert_close(relations @ np.ravel(ys), np.zeros(2), 1e-12, "rounding")
    (shortest,) = nn.parity_relations(ROTATION, C, 3)
    taps = nn.annihilator(np.linalg.eigvals(ROTATION))[::-1]
    assert_close(shortest * taps[-1] / shortest[-1], taps, 1e-12, "the characteristic polynomial")


def test_a_mode_without_its_conjugate_is_refused():
    with pytest.raises(ValueError, match="conjugate"):
        nn.annihilator([np.exp(1j)])


# -- selectors -------------------------------------------------------------------------------------


@pytest.mark.slow
@EVERY_MODE
@pytest.mark.parametrize("name", list(selectors()))
def test_any_selector_drives_any_bank_in_any_form(name, mode):
    selector = selectors()[name]
    bank = nn.Bank(4, 3, 2, width=5, key=jr.key(5))
    layer = nn.Selection(selector, selectors()["residual"], bank, mode=mode)
    us = jr.normal(jr.key(6), (13, 4))
    ys = eqx.filter_jit(layer)(us)

    @jax.jit
    def replay(us):
        return jax.lax.scan(lambda state, u: layer.step(state, u), layer.init(), us)[1]

    assert_close(replay(us), ys, 1e-10, "sums of 13 terms in float64")
    for weights in layer.gates(us):
        assert weights.shape == (13, 2)
        assert (weights >= 0).all()
        assert (weights <= 1).all()
        assert weights.std(axis=0).min() > 1e-3
    # causal: what comes later changes nothing before it
    changed = eqx.filter_jit(layer)(us.at[9].add(1.0))
    assert_close(changed[:9], ys[:9], 1e-11, "a convolution by FFT mixes rounding errors only")
    assert jnp.abs(changed[9:] - ys[9:]).min() > 1e-6


def test_the_energy_of_a_static_residual_is_saliency():
    patterns = jr.normal(jr.key(0), (5, 7))
    u, beta = jr.normal(jr.key(1), (7,)), 1.7
    energies = jnp.sum((u - patterns) ** 2, axis=1) / 2
    by_residual = jax.nn.softmax(-beta * energies)
    equal = patterns / jnp.linalg.norm(patterns, axis=1, keepdims=True)
    _, by_saliency = nn.SaliencySelector(equal, beta=beta).step((), u)
    residual = jax.nn.softmax(-beta * jnp.sum((u - equal) ** 2, axis=1) / 2)
    assert_close(by_saliency, residual, 1e-14, "an identity for equal norms")
    _, by_saliency = nn.SaliencySelector(patterns, beta=beta).step((), u)
    assert jnp.abs(by_saliency - by_residual).max() > 0.01  # and for these only


def test_two_timescales_remember_what_was_selected():
    selector = nn.TwoTimescaleSelector(network(), gain=2.0, beta=20.0)
    first, second = selector.network.patterns.xi
    quiet = jnp.zeros((60, 4))

    def last(*parts):
        return selector.weights(jnp.concatenate(parts))[-1]

    shown = jnp.tile(first, (60, 1))
    assert last(shown, quiet)[0] > 0.99  # it stays when the input is gone,
    assert last(shown, quiet, jnp.tile(0.2 * second, (60, 1)))[0] > 0.99  # withstands a weak one,
    assert last(shown, quiet, jnp.tile(second, (60, 1)), quiet)[1] > 0.99  # not a strong one
    assert last(jnp.tile(0.2 * second, (60, 1)))[1] > 0.5  # which alone would do


def test_gain_and_time_constant_stay_positive():
    """However long the steps are; and both come back from what is learned."""
    selector = nn.TwoTimescaleSelector(network())
    for name in ("kappa", "tau"):
        where = lambda layer, name=name: getattr(layer.parameters, name).free  # noqa: E731
        for step in (-9.0, 9.0):
            far = eqx.tree_at(where, selector, jnp.asarray(step)).network
            start = getattr(selector.network, name)
            assert_close(getattr(far, name), start * np.exp(step), 1e-9, "the exponential")
    with pytest.raises(ValueError, match="`network.kappa` must be positive"):
        nn.TwoTimescaleSelector(eqx.tree_at(lambda net: net.kappa, network(), jnp.asarray(0.0)))


def test_both_gates_jitter_by_themselves():
    # With one selector for both, gates differ only by their jitter.
    made = nn.ResidualSelection(4, 3, key=jr.key(0))
    twin = nn.Selection(made.write, made.write, made.bank)
    us = jr.normal(jr.key(1), (6, 4))
    quiet, noisy = twin.gates(us, inference=True), twin.gates(us, key=jr.key(2))
    assert (quiet.write == quiet.read).all()
    assert np.abs(noisy.write - noisy.read).max() > 1e-2


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_inputs_of_another_size_are_named():
    layer = nn.ResidualSelection(4, 3, key=jr.key(0))
    for wrong in (jnp.ones((2, 6, 4)), jnp.ones((6, 3)), jnp.ones(4)):
        with pytest.raises(ValueError, match=r"`us` must have shape \(T, inputs = 4\)"):
            layer(wrong)
    with pytest.raises(ValueError, match="`u` must have shape"):
        layer.step(layer.init(), jnp.ones((1, 4)))
    with pytest.raises(TypeError, match="`read` must be a selector"):
        nn.Selection(layer.write, jnp.eye(3), layer.bank)


def test_jitter_is_for_training_and_certain_events_do_not_feel_it():
    layer = nn.ResidualSelection(4, 3, key=jr.key(0))
    us = jr.normal(jr.key(1), (6, 4))
    quiet = eqx.nn.inference_mode(layer)
    assert (quiet(us) == layer(us, inference=True)).all()
    assert (quiet(us, key=jr.key(2)) == quiet(us)).all()
    noisy = layer(us, key=jr.key(2))
    assert jnp.abs(noisy - quiet(us)).max() > 1e-3
    assert (noisy == quiet(us, key=jr.key(2), inference=False)).all()
    state = layer.init()
    steps = [layer.step(state, us[0], key=key)[1] for key in (jr.key(2), jr.key(3))]
    assert jnp.abs(steps[0] - steps[1]).max() > 1e-3
    assert jnp.abs(layer.step(state, us[0], inference=True)[1] - quiet(us)[0]).max() < 1e-12
    silent = nn.ResidualSelection(4, 3, jitter=0.0, key=jr.key(0))
    assert (silent(us) == quiet(us)).all()
    exact = constructed.selective_copying(2, 2)  # arguments +-5, jitter 1, ends at +-2.4
    xs = jax.nn.one_hot(jnp.array([0, 1, 0, 2, 3, 3]), 4, dtype=float)
    trained = exact.gates(xs, key=jr.key(0), inference=False)
    assert_close(trained.write, exact.gates(xs).write, 1e-12, "saturated")


@pytest.mark.usefixtures("as_a_user_runs_it")
def test_training_without_a_key_is_refused():
    layer = nn.ResidualSelection(4, 3, key=jr.key(0))
    us = jnp.ones((3, 4))
    quiet = eqx.nn.inference_mode(layer)
    for call in (
        lambda: layer(us),
        lambda: layer.gates(us),
        lambda: layer.step(layer.init(), us[0]),
        lambda: layer.write.weights(us),
        lambda: quiet(us, inference=False),
        lambda: eqx.nn.inference_mode(quiet, False)(us),
    ):
        with pytest.raises(ValueError, match=r"`key` is needed in training.*inference_mode"):
            call()
    with pytest.raises(TypeError, match="`key` must be a PRNG key"):
        layer(us, key=0)  # pyright: ignore
    with pytest.raises(TypeError, match="`inference` must be"):
        layer(us, inference="no")  # pyright: ignore


# -- the layer -------------------------------------------------------------------------------------


def test_the_state_is_bounded_for_any_gates():
    bank = nn.Bank(3, 2, 4, key=jr.key(0))
    lam = jnp.linspace(0.5, 0.99, 12).reshape(4, 3)
    bank = eqx.tree_at(lambda b: b.memory.log_rate, bank, jnp.log(-jnp.log(lam)))
    us = jr.uniform(jr.key(1), (2000, 3), minval=-1.0, maxval=1.0)
    bound = jnp.abs(us @ bank.value.T).max(0) / (1 - lam)

    @jax.jit
    def largest(write, us):
        def step(memory, now):
            memory, _ = bank.step(memory, nn.Gates(now[0], now[0]), now[1])
            return memory, jnp.abs(memory)

        return jax.lax.scan(step, bank.init(), (write, us))[1].max(0)

    for seed in range(4):
        gates = jr.uniform(jr.key(2 + seed), (2000, 4)).round(seed % 2)  # also only 0 or 1
        assert (largest(gates, us) <= bound).all()
    # attained by the worst input there is, a constant, with open gates
    us = jnp.ones((2000, 3))
    bound = jnp.abs(us @ bank.value.T).max(0) / (1 - lam)
    assert_close(
        largest(jnp.ones((2000, 4)), us) / bound, jnp.ones((4, 3)), 1e-8, "0.99^2000 = 2e-9"
    )


def copied(layer, items, context, count=64):
    examples = jax.vmap(
        lambda key: tasks.selective_copying(key, values=8, items=items, context=context)
    )(jr.split(jr.key(context), count))
    us = jax.nn.one_hot(examples.tokens, 10, dtype=layer.bank.value.dtype)
    logits = np.asarray(eqx.filter_jit(jax.vmap(layer))(us))
    return (logits[:, -items:].argmax(-1) + 1 == np.asarray(examples.targets)).mean()


@pytest.mark.slow
@EVERY_MODE
def test_exact_weights_copy_at_any_length(mode):
    layer = constructed.selective_copying(8, 4, mode=mode)
    for context in (24, 256, 2048) if mode == "scan" else (64,):
        assert copied(layer, 4, context) == 1
    if mode == "scan":
        single = constructed.selective_copying(8, 4, mode=mode, dtype=jnp.float32)
        assert copied(single, 4, 256) == 1


@pytest.mark.slow
@pytest.mark.parametrize("trigger", [(2,), (3, 5), (1, 1, 2)])
def test_exact_weights_write_what_follows_the_trigger_and_only_that(trigger):
    L = len(trigger)
    layer = constructed.induction_head(8, trigger)
    for length in (64, 256) if L == 2 else (128,):
        examples = jax.vmap(
            lambda key, length=length: tasks.induction_head(
                key, values=8, trigger=trigger, length=length
            )
        )(jr.split(jr.key(0), 32))
        us = jax.nn.one_hot(examples.tokens, 8, dtype=float)
        logits = np.asarray(eqx.filter_jit(jax.vmap(layer))(us))[:, -1]
        assert (logits.argmax(-1) == np.asarray(examples.target)).all()
        tokens = np.asarray(examples.tokens)
        follows = np.zeros(tokens.shape)
        for k in range(L, length):
            follows[:, k] = (tokens[:, k - L : k] == trigger).all(1)
        assert (follows.sum(1) == 1).all()
        written = jax.vmap(layer.gates)(us).write[..., 0]
        assert (written == follows).all()  # exactly: the ends of the sigmoid


def test_one_tap_cannot_tell_a_trigger_from_its_last_token():
    trigger = (3, 5)
    layer = constructed.induction_head(8, trigger[-1:])
    examples = jax.vmap(lambda key: tasks.induction_head(key, values=8, trigger=trigger))(
        jr.split(jr.key(0), 200)
    )
    us = jax.nn.one_hot(examples.tokens, 8, dtype=float)
    logits = np.asarray(eqx.filter_jit(jax.vmap(layer))(us))[:, -1]
    right = (logits.argmax(-1) == np.asarray(examples.target)).mean()
    # what follows the last token alone is a vote of about nine
    assert 0.15 < right < 0.5


def test_what_does_not_fit_is_named(as_a_user_runs_it):
    bank = nn.Bank(4, 3, 2, key=jr.key(0))
    three = nn.ResidualSelector(4, 3, key=jr.key(0))
    with pytest.raises(ValueError, match="`read` must select among as many slots"):
        nn.Selection(selectors()["saliency"], three, bank)
    with pytest.raises(ValueError, match="`mode` must be one of"):
        nn.ResidualSelection(4, 3, mode="fast", key=jr.key(0))  # pyright: ignore
    for name in ("slots", "taps", "width"):
        with pytest.raises(ValueError, match=f"`{name}` must be a whole number"):
            nn.ResidualSelection(4, 3, **{name: 0}, key=jr.key(0))
    with pytest.raises(ValueError, match="`jitter` must be >= 0"):
        nn.ResidualSelection(4, 3, jitter=-1.0, key=jr.key(0))
    with pytest.raises(ValueError, match="`threshold` must be given"):
        nn.SaliencySelector(jnp.eye(2), form="threshold")
    with pytest.raises(ValueError, match="`dt` must lie between"):
        nn.TwoTimescaleSelector(network(), dt=1.5)


# -- training --------------------------------------------------------------------------------------


def trained(make, lengths, steps, evaluate):
    return selection.train(
        make,
        selection.copying(4, 3),
        phases=[(lengths, steps)],
        seeds=3,
        batch=64,
        lr=0.02,
        evaluate=evaluate,
        sequences=512,
        chunk=100,
        key=jr.key(0),
    )


@pytest.mark.slow
def test_training_finds_the_selection_that_no_linear_bank_can_make():
    task = selection.copying(4, 3)
    make, _ = selection.MODELS["residual"]
    result = trained(lambda key: make(task, key), (3, 5, 12), 600, (12, 48))
    assert (result.scores[12].sequence >= 0.99).all()
    assert (result.scores[48].sequence >= 0.99).all()  # four times the longest
    # the bank has more states: 48 real ones, while the layer has 3 x 6 and two counters
    linear, _ = selection.MODELS["lti"]
    result = trained(lambda key: linear(task, key), (3, 5, 12), 600, (12,))
    assert (result.scores[12].sequence < 0.5).all()


@pytest.mark.slow
def test_training_from_exact_weights_and_noise_keeps_them():
    def make(key):
        layer = constructed.selective_copying(4, 3, mode="scan")
        arrays, static = eqx.partition(layer, eqx.is_array)
        leaves, structure = jax.tree.flatten(arrays)
        keys = jr.split(key, len(leaves))
        noisy = [
            x + 0.1 * jr.normal(k, x.shape, x.dtype) for x, k in zip(leaves, keys, strict=True)
        ]
        return selection.Selective(eqx.combine(jax.tree.unflatten(structure, noisy), static))

    result = trained(make, (8,), 200, (8, 32))
    for scores in result.scores.values():
        assert (scores.sequence >= 0.99).all()
