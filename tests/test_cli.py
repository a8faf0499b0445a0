"""The command line, run in this process through `main`."""

import dataclasses
import importlib.metadata
import json
import pathlib
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cli_helpers import elsewhere as elsewhere, refusal
from helpers import run_python
from jax.experimental.compilation_cache import compilation_cache as programs

import hopfax as hx
from hopfax import _cache
from hopfax.cli import _families, _machine, _memories, _settings, main
from hopfax.cli._claims import Claim, Outcome, claim
from hopfax.cli._console import number, table
from hopfax.cli._output import default_folder
from hopfax.cli.sequential.sweep import Sweep


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["sweep", "--kappa", "5", "3"], "`kappa`"),
        (["sweep", "--saliency", "1", "nan"], "`saliency`"),
        (["sweep", "--points", "1", "4"], "`points`"),
        (["sweep", "--tau", "-1"], "`tau`"),
        (["sweep", "--horizon", "0"], "`horizon`"),
        (["sweep", "--bias", "nan"], "`bias`"),
        (["sweep", "--patterns", "nowhere.npy"], "`patterns`"),
        (["sweep", "--neurons", "1000"], "`neurons`"),
        (["sweep", "--memories", "0"], "`memories`"),
        (["sweep", "--config", "nowhere.toml"], "`config`"),
        (["theory", "--memories", "1"], "`memories`"),
        (["theory", "--tau", "0.5"], "`tau`"),
        (["theory", "--tau", "50", "--bias", "0"], "`bias`"),
        (["theory", "--kappa", "inf"], "`kappa`"),
        (["plot", "nowhere"], "nowhere"),
    ],
)
def test_bad_values_are_refused_in_one_line_that_names_them(command, arguments, named):
    status, out, err = command(*arguments)
    assert status == 2 and not out
    assert refusal(err).startswith("hopfax: error: ") and named in refusal(err)


@pytest.mark.parametrize(
    "arguments",
    [
        ["sweep", "--kapa", "3", "4"],
        ["sweep", "--rtol", "1e-6"],
        ["swep"],
        ["plot"],
        ["sweep", "--config"],
    ],
)
def test_bad_options_are_refused(command, arguments):
    status, out, err = command(*arguments)
    assert status == 2 and not out and "Traceback" not in err and err


@pytest.fixture
def misfit(monkeypatch):
    """As if an older typeguard than tyro requires were installed."""
    real = importlib.metadata.version
    monkeypatch.setattr(
        "importlib.metadata.version", lambda name: "2.13.3" if name == "typeguard" else real(name)
    )


def test_packages_that_do_not_go_together_are_named(command, monkeypatch, misfit):
    """As in an environment in which another package asked for an old typeguard."""
    assert "DOES NOT FIT" in (out := command("doctor")[1])
    assert re.search(r"tyro \S+ requires typeguard>=4\S*, but 2.13.3 is installed", out)

    def fail(self):
        raise AttributeError("module 'typeguard' has no attribute 'TypeCheckError'")

    monkeypatch.setattr("hopfax.cli.doctor.Doctor.__call__", fail)
    status, _, err = command("doctor")
    assert status == 2 and "requires typeguard" in refusal(err) and "venv" in err


def test_what_is_required_here_is_installed(command):
    assert "DOES NOT FIT" not in command("doctor")[1]


def test_debug_mode_keeps_the_traceback(monkeypatch):
    monkeypatch.setenv("HOPFAX_DEBUG", "1")
    with pytest.raises(ValueError, match="`tau`"):
        main(["theory", "--tau", "0.5"])


@pytest.mark.parametrize(
    ("error", "expected"),
    [(hx.SimulationError("no end"), 1), (hx.StoreError("taken"), 2), (KeyboardInterrupt(), 130)],
)
def test_exit_status_by_kind_of_error(command, monkeypatch, error, expected):
    def fail(self):
        raise error

    monkeypatch.setattr("hopfax.cli.doctor.Doctor.__call__", fail)
    status, _, err = command("doctor")
    assert status == expected and refusal(err)


def test_a_fault_of_the_program_is_not_disguised(monkeypatch):
    def fail(self):
        raise ZeroDivisionError

    monkeypatch.setattr("hopfax.cli.doctor.Doctor.__call__", fail)
    with pytest.raises(ZeroDivisionError):
        main(["doctor"])


# Configuration files


def test_a_file_sets_defaults_and_options_win(command, tmp_path):
    (tmp_path / "my.toml").write_text("kappa = [4.5, 6]\nmemories = 3\n[sweep]\nmemories = 7\n")
    _, out, _ = command("theory", "--config", "my.toml")
    assert "a cycle of 3 memories" in out
    assert re.search(r"^4\.5000 ", out, re.MULTILINE) and re.search(r"^6\.0000 ", out, re.MULTILINE)
    _, out, _ = command("theory", "--config", "my.toml", "--memories", 5, "--kappa", 7)
    assert "a cycle of 5 memories" in out and not re.search(r"^4\.5000 ", out, re.MULTILINE)
    assert (
        command("theory", "--config=my.toml", "--memories=6")[1].count("cycle of 6 memories") == 1
    )


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("kapa = [3, 4]", "'kapa'; did you mean 'kappa'"),
        ("[sweep]\nhorizn = 3", "'horizn'; did you mean 'horizon'"),
        ("zzz = 1", "'zzz'"),
        ("[theory]\nkappa = [3.0]\n[seep]\ntau = 1", "'seep'"),
        ("kappa = ", "is no TOML file"),
    ],
)
def test_bad_files_are_refused(command, tmp_path, text, named):
    (tmp_path / "my.toml").write_text(text)
    status, _, err = command("sweep", "--config", "my.toml")
    assert status == 2 and "my.toml" in refusal(err) and named in refusal(err)


def test_a_value_of_the_wrong_kind_in_a_file_is_refused(command, tmp_path):
    (tmp_path / "my.toml").write_text('points = "many"')
    status, _, err = command("sweep", "--config", "my.toml")
    assert status == 2 and "--points" in err and "my.toml" in err


@dataclasses.dataclass(frozen=True)
class Inner:
    rate: float = 1.0
    names: tuple[str, ...] = ("a", 'b "c"')


@dataclasses.dataclass(frozen=True)
class Outer:
    inner: Inner = Inner()
    on: bool = False
    many: int | None = None
    config: str | None = None


def test_settings_survive_toml(tmp_path):
    import tyro

    for kept in (Outer(), Outer(Inner(1e-7, ("x",)), True, 3)):
        file = tmp_path / "my.toml"
        file.write_text(_settings.to_toml(_settings.settings(kept), ["a comment"]))
        assert tyro.cli(Outer, args=_settings.arguments_from(file, "outer", Outer)) == kept
    file.write_text("[inner]\nrat = 2.0")
    with pytest.raises(ValueError, match="'inner.rat'; did you mean 'inner.rate'"):
        _settings.arguments_from(file, "outer", Outer)


def test_settings_say_what_is_computed_and_not_where_or_how():
    plain = _settings.settings(Sweep())
    other = Sweep(devices=2, chunk=100, part=(0, 2), dask="x", resume=True, dry_run=True)
    assert _settings.settings(other) == plain
    assert _settings.settings(Sweep(overwrite=True, store=pathlib.Path("elsewhere"))) == plain
    assert _settings.settings(Sweep(tau=99.0)) != plain
    folder = default_folder("sweep", plain)
    assert folder == default_folder("sweep", dict(plain)) != default_folder("run", plain)


@pytest.mark.parametrize("family", _families.families_with("sweep"))
def test_settings_name_the_family_unless_it_is_the_first(family):
    for command in ("sweep", "theory"):
        found = _settings.settings(_families.kind(command, family)())
        assert found.get("network", _families.FAMILIES[0]) == family
        assert ("network" in found) == (family != _families.FAMILIES[0])


# Shared pieces


def memories(patterns, **options):
    return _memories.memories_of(Sweep(patterns=patterns, **options))[0]


def test_memories_of_every_source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert memories("hadamard").xi.shape == (4, 1024)
    drawn = [memories("random", memories=3, neurons=50, seed=seed).xi for seed in (0, 0, 1)]
    assert (drawn[0] == drawn[1]).all() and (drawn[0] != drawn[2]).any()
    xi = np.array(drawn[0])
    np.savez("some.npz", xi=xi)
    assert (memories("some.npz").xi == xi).all()
    assert (memories("some.npz", memories=2, neurons=50).xi == xi[:2]).all()
    with pytest.raises(ValueError, match="`memories` is 4, but some.npz holds 3"):
        memories("some.npz", memories=4)
    with pytest.raises(ValueError, match="`neurons` is 9"):
        memories("some.npz", neurons=9)
    assert memories("digits", memories=3).xi.shape == (3, 64)
    with pytest.raises(ValueError, match="`neurons` is 9, but the memories in digits have 64"):
        memories("digits", neurons=9)


def test_memories_of_a_folder_of_images(tmp_path):
    from PIL import Image

    rows = np.random.default_rng(0).integers(0, 255, (2, 4, 5), dtype=np.uint8)
    for name, image in zip("ab", rows, strict=True):
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    assert memories(str(tmp_path)).xi.shape == (2, 20)
    assert memories(str(tmp_path), image_shape=(2, 3), threshold="otsu").xi.shape == (2, 6)


def test_precision_holds_inside_and_is_put_back():
    with pytest.raises(KeyError):
        with _machine.precision("float32"):
            assert jnp.asarray(1.0).dtype == np.float32
            raise KeyError
    assert jnp.asarray(1.0).dtype == np.float64


CACHE = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")


@pytest.fixture
def unconfigured():
    """No folder of compiled programs is set, whatever the test run has."""
    before = cache_options()
    jax.config.update(CACHE[0], None)
    programs.reset_cache()
    yield
    for name, value in zip(CACHE, before, strict=True):
        jax.config.update(name, value)
    _cache._Traced.folder = None
    programs.reset_cache()


def cache_options():
    return tuple(_cache.jax_option(name) for name in CACHE)


def cache_row(command):
    """What `hopfax doctor` says of the cache."""
    status, out, err = command("doctor")
    assert status == 0 and not err
    (row,) = re.findall(r"^compilation cache +(.+)$", out, re.MULTILINE)
    return row


def compile_with(number):
    """Compile a program that JAX's own memory does not hold."""
    jax.jit(lambda x: jnp.sinh(x) * number).lower(1.0).compile()


def test_compiled_programs_are_kept_and_found_again(unconfigured, tmp_path, monkeypatch):
    before = cache_options()
    for name in ("cache", "other"):  # the second one, too: JAX must not hold on to the first
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        folder = tmp_path / name / "hopfax/jax"
        for _ in range(2):
            with pytest.raises(KeyError):
                with hx.compilation_cache():
                    assert cache_options() == (str(folder), 0.0)
                    compile_with(17.0)
                    raise KeyError
            assert cache_options() == before
            assert len(list(folder.glob("*-cache"))) == 1  # written once
        assert folder.stat().st_mode & 0o077 == 0  # whoever writes there decides what is run


def test_a_second_process_compiles_no_event_driven_program_again():
    code = """
import os
os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)  # of the test run
import jax, numpy as np, hopfax as hx
misses = []
jax.monitoring.register_event_listener(lambda name, **_: misses.append(name))
network = hx.TwoTimescaleHopfield(
    hx.patterns.hadamard(3, 8), hx.cyclic(3), kappa=5.0, tau=20.0, bias=0.01
)
with hx.compilation_cache():
    run = hx.simulate(network, network.init(saliency=[2.0, 0.0, 0.0]), np.linspace(0.0, 1.0, 3))
assert run.stats["method"] == "event-driven"
print(sum(name.endswith("cache_misses") for name in misses))
"""
    first, second = (int(run_python(code)) for _ in range(2))
    assert first > 0 and second == 0


@pytest.mark.parametrize("folder", ["", "/nowhere/to/be/found"])
def test_a_configured_cache_is_left_alone(unconfigured, tmp_path, folder):
    jax.config.update(CACHE[0], folder)
    with hx.compilation_cache():
        assert _cache.jax_option(CACHE[0]) == folder
    assert not (tmp_path / "cache").exists()


def test_a_call_keeps_programs_from_then_on(unconfigured, tmp_path):
    compile_with(18.0)  # JAX has looked for a folder before
    hx.compilation_cache()
    compile_with(19.0)
    (kept,) = (tmp_path / "cache/hopfax/jax").glob("*-cache")
    with hx.compilation_cache(tmp_path / "own") as folder:
        compile_with(20.0)
    assert folder == tmp_path / "own" and len(list(folder.glob("*-cache"))) == 1
    compile_with(21.0)
    assert len(list(kept.parent.glob("*-cache"))) == 2


def test_a_folder_that_is_named_must_be_writable(tmp_path, as_a_user_runs_it):
    (tmp_path / "file").write_text("")
    before = cache_options()
    with pytest.raises(OSError, match="`folder`: cannot write to .*file; name another one"):
        hx.compilation_cache(tmp_path / "file")
    with pytest.raises(TypeError, match="`folder`"):
        hx.compilation_cache(3)
    assert cache_options() == before


def test_a_cache_that_cannot_be_written_fails_nothing(unconfigured, command, tmp_path):
    (tmp_path / "cache").write_text("a file, not a folder")
    before = cache_options()
    with hx.compilation_cache():
        assert cache_options() == before
    row = cache_row(command)
    assert row.startswith("off: cannot write") and str(tmp_path / "cache") in row


def test_the_cache_is_the_users_own(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for ignored in ("", "relative/folder"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert _cache.cache_folder() == tmp_path / ".cache/hopfax/jax"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert _cache.cache_folder() == tmp_path / ".cache/hopfax/jax"


def test_doctor_reports_the_cache(unconfigured, command, tmp_path):
    folder = tmp_path / "cache/hopfax/jax"
    row = f"on: {folder} ({{}} programs, {{}} MiB; traced: {{}} programs, {{}} MiB); in {{}}"
    how = "Python by hopfax.compilation_cache()"
    assert cache_row(command) == row.format(0, 0.0, 0, 0.0, how)
    (folder / "jit_f-0-cache").write_bytes(bytes(3 * 2**19))
    (folder / "jit_f-0-atime").write_bytes(bytes(8))
    (folder / "traced").mkdir()
    (folder / "traced/0.program").write_bytes(bytes(2**20))
    assert cache_row(command) == row.format(1, 1.5, 1, 1.0, how)
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        assert cache_row(command).startswith("off (jax_enable_compilation_cache")
    finally:
        jax.config.update("jax_enable_compilation_cache", True)


def test_tables_line_up():
    text = table(("name", "n"), [("a", 1), ("longer", number(float("nan")))])
    assert text == "name    n\n------  -\na       1\nlonger  -"
    assert number(2.0, 2) == "2.00" and number(float("inf")) == "inf"


def test_claims_hold_on_the_right_side():
    def holds(relation, simulation):
        made: Claim = claim("c", 1.0, simulation, 0.1, "why", "where", relation)
        return made.holds

    assert holds("equal", 1.05) and not holds("equal", 1.2) and not holds("equal", np.nan)
    assert holds("below", 0.8) and not holds("below", 0.95)
    assert holds("above", 1.2) and not holds("above", 1.05)


# The other commands


@pytest.fixture
def made_up(monkeypatch):
    """What is reproduced of rate memories: two claims, the second of which may fail."""

    def reproduce(second):
        claims = [claim("one", 1, 1, 0, "a count", "here"), claim("two", 1, second, 0, "", "")]
        outcome = Outcome(claims, {}, "more text", {"a_table": [1, 2]})
        monkeypatch.setattr("hopfax.cli.rate.reproduce.reproduce", lambda: outcome)

    return reproduce


@pytest.mark.parametrize("asked", [("rate",), ("--network", "rate")])
def test_reproduce_asks_the_family(command, tmp_path, made_up, asked):
    made_up(1)
    status, out, _ = command("reproduce", *asked)
    assert status == 0 and re.search("^two +1.0000 +1.0000 +0.0000 +yes$", out, re.MULTILINE)
    assert "more text" in out
    (folder,) = (tmp_path / "hopfax-out").iterdir()
    claims = json.loads((folder / "claims.json").read_text())
    assert [(claim["claim"], claim["holds"]) for claim in claims] == [("one", True), ("two", True)]
    assert json.loads((folder / "a_table.json").read_text()) == [1, 2]
    assert folder.name == "reproduce-4a4402ef"  # both ways, and as it was called before

    status, _, err = command("reproduce", *asked)
    assert status == 2 and "is from an earlier run; --overwrite" in refusal(err)
    made_up(2)
    status, out, _ = command("reproduce", *asked, "--overwrite")
    assert status == 1 and re.search("^two .* NO$", out, re.MULTILINE)


def test_reproduce_is_told_one_family(command):
    status, _, err = command("reproduce", "dense", "--network", "rate")
    assert status == 2 and "name one" in refusal(err)


@pytest.mark.slow
def test_theory_beyond_its_domain_is_a_sentence(command):
    status, out, _ = command("theory", "--tau", 50000)
    assert status == 0 and "No prediction is derived for tau = 50000" in out
    assert "3.6107" in out or "3.610719" in out  # the limit is there all the same
    _, out, _ = command("theory", "--kappa", 3.0, "--tau", 50)
    assert re.search(r"^3.0000 +inf +- +- +-$", out, re.MULTILINE)  # no start lasts: it is known


def test_theory_prints_the_known_numbers(command):
    status, out, _ = command("theory", "--kappa", 5, 3.5, "--memories", 3)
    assert status == 0
    # The exact table of critical gains and saliencies there.
    for row in (
        "2 2.000000 1.000000",
        "3 3.000000 1.000000",
        "4 3.610719 1.521380",
        "5 3.834437 1.761378",
        "6 3.925387 1.876805",
        "8 3.983268 1.965125",
        "10 3.995994 1.989817",
        "infinity 4.000000 2.000000",
    ):
        assert re.search("^" + " +".join(map(re.escape, row.split())) + "$", out, re.MULTILINE)
    # P = 3: Z*(5) = 2 + sqrt(3); Z*(3.5) = 2 exactly, with edge 1.75 and dwell ln 2.
    assert re.search(r"^5\.0000 +3\.7321 ", out, re.MULTILINE)
    assert re.search(r"^3\.5000 +2\.0000 +- +1\.7500 +0\.6931 +2\.0794$", out, re.MULTILINE)
    # Endless chain: none at 3.5; Z = (5 +- sqrt(5)) / 2.
    assert re.search(r"^3\.5000 +- +- +inf +-$", out, re.MULTILINE)
    assert re.search(r"^5\.0000 +3\.6180 +1\.3820 +1\.3820 ", out, re.MULTILINE)
    assert "tau = " not in out


def test_theory_at_finite_separation(command, monkeypatch):
    from hopfax.theory import sequential

    def edge(kappa, P, *, tau=np.inf, bias=0.0):
        return kappa + (0.0 if tau == np.inf else P + tau + bias)

    def gain(P=np.inf, *, tau=np.inf, bias=0.0):
        return 0.0 if tau == np.inf else P + tau + bias

    # These are slow to compile and tested elsewhere; here, which numbers go where.
    monkeypatch.setattr(sequential, "dwell_time", lambda k, tau, P, bias: k * tau + P + bias)
    monkeypatch.setattr(sequential, "basin_edge", edge)
    monkeypatch.setattr(sequential, "critical_gain", gain)
    monkeypatch.setattr(sequential, "domain", lambda P, tau, bias, kappa: "")
    status, out, _ = command("theory", "--kappa", 2, "--tau", 100, "--bias", "0.5")
    assert status == 0
    out = out[out.index("tau = 100") :]
    assert "critical kappa  104.5000" in out
    assert re.search(r"^2\.0000 +106\.5000 +204\.5000 +2\.0450 +818\.0000$", out, re.MULTILINE)


def test_doctor_names_versions_devices_and_what_is_missing(command, monkeypatch):
    status, out, _ = command("doctor")
    assert status == 0
    for name, version in (("hopfax", hx.__version__), ("jax", jax.__version__)):
        assert re.search(rf"^{name} +{re.escape(version)}$", out, re.MULTILINE)
    assert jax.devices()[0].platform in out
    monkeypatch.setattr("hopfax.cli.doctor.installed", lambda name: None)
    assert 'pip install "hopfax[plot]"' in command("doctor")[1]


def test_doctor_says_that_a_source_tree_is_not_installed(command, monkeypatch):
    real = importlib.metadata.version

    def version(name):
        if name == "hopfax":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr("importlib.metadata.version", version)
    status, out, _ = command("doctor")
    assert status == 0 and f"{hx.__version__} (a source tree; " in out and "DOES NOT FIT" not in out


def test_help_lists_the_commands_and_every_field_is_explained(command):
    for arguments in ([], ["--help"]):
        status, out, _ = command(*arguments)
        assert status == 0
        for name in ("sweep", "run", "theory", "plot", "reproduce", "doctor"):
            assert name in out
    _, out, _ = command("sweep", "--help")
    for field in dataclasses.fields(Sweep):
        assert "--" + field.name.replace("_", "-") in out
    assert "Least and largest gain" in out


def test_without_tyro_the_cure_is_named(command, monkeypatch):
    monkeypatch.setitem(sys.modules, "tyro", None)
    status, out, err = command("sweep")
    assert status == 2 and not out and 'pip install "hopfax[cli]"' in refusal(err)


def test_warnings_are_one_line(command, monkeypatch):
    import warnings

    def warn(self):
        warnings.simplefilter("always")
        warnings.warn("beware", hx.PhysicsWarning, stacklevel=1)
        return 0

    monkeypatch.setattr("hopfax.cli.doctor.Doctor.__call__", warn)
    status, _, err = command("doctor")
    assert status == 0 and refusal(err) == "hopfax: PhysicsWarning: beware"


def test_the_module_is_the_command():
    code = (
        "import runpy, sys; sys.argv[1:] = ['doctor']; runpy.run_module('hopfax', {}, '__main__')"
    )
    assert "hopfax" in run_python(
        f"try:\n    {code}\nexcept SystemExit as s:\n    assert s.code == 0"
    )
