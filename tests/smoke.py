"""Does what is installed work? `python -I tests/smoke.py`, by the Python that has hopfax.

For packages that were built and are tried without the source tree, and for the lowest versions that
hopfax says it works with; as `python -I tests/smoke.py core` for an installation without extras, as
`python -I tests/smoke.py files` whether all files are there, and no more. With `-I` Python looks
neither at the folder that it is started in nor at PYTHONPATH. This needs no pytest and nothing else
from the tree.
"""

import importlib
import importlib.metadata
import importlib.util
import os
import pathlib
import pkgutil
import subprocess
import sys
import tempfile
import warnings

import jax
import jax.numpy as jnp

import hopfax as hx

#: A small sweep of the command line.
SWEEP = "sweep --points 4 3 --memories 3 --tau 20 --horizon 4 --neurons 16".split()
#: What needs an extra, and the extra that its message has to name.
NEEDS = {
    "xarray": ("io", lambda: hx.sweep(point(), {"kappa": [3.0]})),
    "matplotlib": ("plot", lambda: hx.plots.trajectory(run())),
    "flax": ("flax", lambda: importlib.import_module("hopfax.nn.flax")),
    "PIL": ("io", lambda: hx.patterns.from_images(pictures())),
    "bokeh": ("web", lambda: hx.plots.report(run(), "report.html")),
}


def is_the_installed_one():
    """The package is the one of this environment, has the version that it was built with, and all
    its files: every module can be imported, and every public name is there."""
    place = pathlib.Path(hx.__file__).resolve()
    assert "site-packages" in place.parts, f"hopfax is imported from {place}, not installed"
    assert hx.__version__ == importlib.metadata.version("hopfax")
    assert (place.parent / "py.typed").is_file()
    assert all(hasattr(hx, name) for name in hx.__all__)


def modules_can_be_imported():
    """All of them: the extra `all` is there, and flax if it is."""
    apart = ("hopfax.__main__",) + ("hopfax.nn.flax",) * (importlib.util.find_spec("flax") is None)
    names = [m.name for m in pkgutil.walk_packages(hx.__path__, "hopfax.")]
    assert len(names) > 100, names
    for name in names:
        if not name.startswith(apart):
            importlib.import_module(name)


def pictures():
    """A folder with one file of a name as pictures have it."""
    folder = pathlib.Path("pictures")
    folder.mkdir(exist_ok=True)
    (folder / "one.png").write_bytes(b"")
    return folder


def network():
    """Three memories of 16 neurons that follow each other."""
    return hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(3, 16), hx.cyclic(3), kappa=5.0, tau=20.0, bias=0.01
    )


def run():
    """A trajectory that goes through all of them."""
    start = network().init(saliency=[4.0, 0.0, 0.0])
    return hx.simulate(network(), start, jnp.linspace(0.0, 200.0, 41))


def point():
    """One point of a sweep."""
    return hx.Point(network(), dict(saliency=[4.0, 0.0, 0.0]), jnp.linspace(0.0, 200.0, 41))


def core_works():
    """A run, its theory, a fit and a layer."""
    trajectory = run()
    assert hx.observables.visited(trajectory).tolist()[:4] == [0, 1, 2, 0]
    dwell = float(hx.observables.dwell_times(trajectory)[-1])
    theory = float(hx.theory.sequential.dwell_time(5.0, 20.0, 3, 0.01))
    assert abs(dwell - theory) < 0.2 * theory  # theory of one exact event map: same size
    seen = hx.observables.switch_times(trajectory)[:3]
    loss = hx.losses.switch_times(seen, init=dict(saliency=[4.0, 0.0, 0.0]), sigma=0.5)
    other = hx.TwoTimescaleHopfield(
        hx.patterns.hadamard(3, 16), hx.cyclic(3), kappa=5.3, tau=20.0, bias=0.01
    )
    found = hx.fit(
        other,
        loss,
        where=lambda net: net.kappa,
        constraint=hx.constraints.Positive(),
        progress=False,
    )
    assert abs(float(found.model.kappa) - 5.0) < 1e-4  # the data are its own, without noise
    layer = hx.nn.HopfieldRetrieval(2, 8, key=jax.random.key(0))
    assert layer(jnp.ones((3, 8)), jnp.ones((5, 8))).shape == (3, 8)


def command(*arguments: str) -> tuple[int, str]:
    """Status and output of the installed command `hopfax`."""
    program = pathlib.Path(sys.executable).parent / "hopfax"
    done = subprocess.run([program, *arguments], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr[-2000:]


def commands_work():
    """A sweep in the shell, its files, and what the installation says of itself."""
    status, said = command(*SWEEP)
    assert status == 0, said
    written = {path.suffix for path in pathlib.Path("hopfax-out").rglob("*")}
    assert ".json" in written and written & {".png", ".pdf", ".svg"}, written
    status, said = command("doctor")
    assert status == 0 and hx.__version__ in said and "DOES NOT FIT" not in said, said


def extras_are_named():
    """Without extras: the message of everything that needs one says which."""
    for package, (extra, call) in NEEDS.items():
        assert importlib.util.find_spec(package) is None, f"{package} is installed"
        try:
            call()
        except ImportError as error:
            assert f'pip install "hopfax[{extra}]"' in str(error), error
        else:
            raise AssertionError(f"{package} is missing, and nothing was said")
    status, said = command(*SWEEP)
    assert status == 2 and 'pip install "hopfax[cli]"' in said and "Traceback" not in said, said


def main():
    """What was asked for, in an empty folder. Warnings are errors, but for those of older packages
    that use what newer ones below them have deprecated."""
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", DeprecationWarning)
    checks = {
        "all": (is_the_installed_one, modules_can_be_imported, core_works, commands_work),
        "core": (is_the_installed_one, core_works, extras_are_named),
        "files": (is_the_installed_one, modules_can_be_imported),
    }[sys.argv[1] if sys.argv[1:] else "all"]
    jax.config.update("jax_enable_x64", True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for check in checks:
            check()
            print(f"ok: {check.__name__.replace('_', ' ')}", flush=True)
    print(f"hopfax {hx.__version__} on jax {jax.__version__}: {len(checks)} passed, 0 failed")


if __name__ == "__main__":
    main()
