"""Every public name: it is what `dir()` shows, has a docstring, and an example there that runs."""

import importlib
import inspect
import pydoc
import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hopfax as hx

#: The public modules, as a user types them.
MODULES = (
    *("hopfax", "hopfax.patterns", "hopfax.observables", "hopfax.losses", "hopfax.constraints"),
    *("hopfax.designs", "hopfax.dynamics", "hopfax.nn", "hopfax.nn.flax", "hopfax.plots"),
    *("hopfax.theory.sequential", "hopfax.theory.dense", "hopfax.theory.rate"),
    "hopfax.theory.input_driven",
)


def _public(name):
    """Names and objects that are the user's, in the order in which they are shown."""
    module = importlib.import_module(name)
    names = [n for n in dir(module) if not n.startswith("__")]
    return {n: getattr(module, n) for n in names}


def _objects():
    """Every public function and class once, under its shortest name; their public methods too."""
    seen = set()
    for module in MODULES:
        for name, item in _public(module).items():
            if not (inspect.isclass(item) or inspect.isfunction(item)) or id(item) in seen:
                continue
            seen.add(id(item))
            yield pytest.param(item, id=f"{module}.{name}".removeprefix("hopfax."))


OBJECTS = list(_objects())


def examples(docstring):
    """The blocks of code in a docstring."""
    text = inspect.cleandoc(docstring or "")
    return re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("module", MODULES)
def test_a_public_module_shows_public_names_and_nothing_else(module):
    names = [n for n in dir(importlib.import_module(module)) if not n.startswith("__")]
    assert names and not [n for n in names if n.startswith("_")]
    foreign = [
        name
        for name, item in _public(module).items()
        if not getattr(item, "__module__", "hopfax").startswith("hopfax")
        or (inspect.ismodule(item) and not item.__name__.startswith("hopfax"))
    ]
    assert not foreign


def test_the_index_lists_all_that_it_imports():
    imported = {
        name
        for name, item in vars(hx).items()
        if not name.startswith("_") and not inspect.ismodule(item)
    }
    assert imported <= set(dir(hx)) and "__version__" in dir(hx)


@pytest.mark.parametrize("item", OBJECTS)
def test_a_public_name_has_a_docstring_with_an_example(item):
    text = inspect.getdoc(item) or ""
    assert len(text.split()) >= 4, "a docstring is a sentence"
    assert examples(item.__doc__), "it ends with a short example, in a block of ```python"


@pytest.mark.every_case
@pytest.mark.parametrize("item", [p for p in OBJECTS if examples(p.values[0].__doc__)])
def test_the_example_of_a_docstring_runs(item, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with jax.numpy_dtype_promotion("standard"), warnings.catch_warnings():
        for block in examples(item.__doc__):
            space = {"hx": hx, "jax": jax, "jnp": jnp, "np": np}
            exec(compile(block, f"example of {item.__qualname__}", "exec"), space)


@pytest.mark.parametrize("module", [hx, hx.theory])
def test_help_begins_with_an_index_of_all_names(module):
    """What is imported late is not to be missing, nor to be looked for on a hundred pages."""
    index = set(re.findall(r"\w+", module.__doc__))
    assert not {name for name in module.__all__ if not name.startswith("_")} - index
    shown = pydoc.render_doc(module, renderer=pydoc.plaintext)[:4000]  # pyright: ignore[reportAttributeAccessIssue]
    assert module.__all__[-2] in shown
