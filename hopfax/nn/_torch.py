"""Weights of ml-jku's hopfield-layers (PyTorch), read into layers, and given back."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from .._constant import Constant, held
from .._errors import as_count, shown
from ._retrieval import HopfieldRetrieval
from ._tables import HopfieldLookup, HopfieldPooling
from ._torch_blocks import Block, as_array, block_arrays, is_block, read_block

_NAMES = dict(query="state_pattern", memory="stored_pattern", value="pattern_projection")
_LETTERS = dict(query="q", memory="k", value="v")
_TABLES = dict(pooling_weights="queries", lookup_weights="memory", target_weights="values")
_WRAPPED = "hopfield."
_CORE = "association_core."

Layer = HopfieldRetrieval | HopfieldLookup | HopfieldPooling
Arrays = dict[str, np.ndarray]


def from_torch(source: Any, *, num_heads: int | None = None, **options: Any) -> Layer | Block:
    r"""A layer with the weights of a `Hopfield`, `HopfieldPooling` or `HopfieldLayer` of
    hopfield-layers (Ramsauer et al. 2021, arXiv:2008.02217), or a block with those of a
    `HopfieldEncoderLayer` or `HopfieldDecoderLayer`, or of PyTorch's `TransformerEncoderLayer` or
    `TransformerDecoderLayer`. Their results are then the same.

    What differs in a call: the layer takes one example (`jax.vmap` makes a batch), as
    `layer(state, stored, values)` where theirs takes `(stored, state, projection)`; its `mask` is
    True where an item counts, where their masks are True for what is left out; and the means of a
    `HopfieldPooling` are (queries, size), which theirs lays end to end. Their iteration may stop
    early, by `update_steps_eps`; the layer makes all its steps, or with theirs `None` goes on until
    its states rest. A module in evaluation (`.eval()`) becomes a layer in inference, and a table
    that is not trained a `Constant` one. The bias that `concat_bias_pattern` makes is left out: it
    has no effect in theirs (version 1.0.2).

    **Arguments:**

    - `source`: the module; or its `state_dict()`, with tensors or, as safetensors loads them, with
        NumPy arrays. PyTorch itself is not needed for the latter.
    - `num_heads`: needed with a state dict, which does not tell it.
    - `options`: of `HopfieldRetrieval`, in place of what the module says. **Give `beta` and `steps`
        with a state dict**, unless they are the defaults: otherwise the layer computes something
        else without a word. A state dict tells neither `beta` (their `scaling`) nor `steps`
        (`update_steps_max` + 1), `dropout` and `extra_items` (("zero",) for
        `add_zero_association`), which are then the defaults of both packages:
        $1/\sqrt{\mathtt{qk\_size}}$, 1, 0 and none; nor whether values are connected
        (`pattern_projection_as_connected`), so that of such a module it must not be taken. Of a
        block they are those of both its retrievals, and `activation`, `norm_first`, `dropout` and
        `weight_dropout` those of the block, which its state dict does not tell either.

    **Returns:** a `HopfieldRetrieval`, `HopfieldPooling` or `HopfieldLookup`, `HopfieldEncoder` or
    `HopfieldDecoder`.

    **Raises:** TypeError for anything else; ValueError naming what is missing, and options of
    theirs that the layers do not have. Different `scaling`s of heads are refused, too: theirs
    multiplies features by them in turn, not heads; say by `beta` what was meant.

    **Example:**

    ```python
    layer = hx.nn.HopfieldRetrieval(2, 4, key=jax.random.key(0))
    state = hx.nn.to_torch(layer)  # as of a `Hopfield(input_size=4, num_heads=2)`
    again = hx.nn.from_torch(state, num_heads=2)
    again.query_proj.weight.shape  # (4, 4)
    ```
    """
    if is_block(source):
        given = {} if num_heads is None else dict(num_heads=num_heads)
        return read_block(source, from_torch, given | options)
    state, told = _read(source)
    if num_heads is not None:
        told["num_heads"] = as_count(num_heads, "num_heads")
    if "num_heads" not in told:
        raise ValueError("`num_heads` is needed: a state dict does not tell it.")
    wrapped = any(name.startswith(_WRAPPED) for name in state)
    own = {
        n.removeprefix(_WRAPPED): a for n, a in state.items() if wrapped == n.startswith(_WRAPPED)
    }
    core = {n.removeprefix(_CORE): a for n, a in own.items() if n.startswith(_CORE)}
    weights, biases = _projections(core, told, options.get("projections"))
    settings = _settings(own, weights, told, options) | options
    frozen = told.get("frozen", False)
    made = _made(state, told["num_heads"], settings, frozen)
    retrieval = made if isinstance(made, HopfieldRetrieval) else made.retrieval
    retrieval = _filled(retrieval, own, core, weights, biases, told)
    if isinstance(made, HopfieldRetrieval):
        return retrieval
    tables: dict[str, Any] = {"retrieval": retrieval}
    for theirs, ours in _TABLES.items():
        if theirs in state:
            table = jnp.asarray(state[theirs].reshape(-1, state[theirs].shape[-1]))
            tables[ours] = Constant(table) if frozen else table

    def parts(it):
        return [getattr(it, name) for name in tables]

    return eqx.tree_at(parts, made, list(tables.values()))


def _read(source: Any) -> tuple[Arrays, dict[str, Any]]:
    """The arrays by name, and what a module tells beside them."""
    if isinstance(source, Mapping):
        return {str(name): as_array(value, name) for name, value in source.items()}, {}
    if not callable(getattr(source, "state_dict", None)):
        raise TypeError(
            f"`source` must be a module of hopfield-layers or its state dict, got {shown(source)}."
        )
    state, _ = _read(source.state_dict())
    outer = getattr(source, "hopfield", source)
    core = outer.association_core
    if outer.association_activation is not None:
        raise ValueError("`source` has an `association_activation`, which no layer here has.")
    static = dict(query=core.query_as_static, memory=core.key_as_static, value=core.value_as_static)
    told = dict(
        num_heads=core.num_heads,
        projections=[name for name, fixed in static.items() if not fixed],
        beta=as_array(outer.scaling, "scaling"),
        steps=outer.update_steps_max,
        sizes=dict(query=core.embed_dim, memory=core.kdim, value=core.vdim),
        qk_size=core.head_dim,
        dropout=core.dropout,
        inference=not source.training,
        extra_items=("zero",) if core.add_zero_attn else (),
        connected=core.value_as_connected,
        frozen=not all(getattr(getattr(source, n, None), "requires_grad", True) for n in _TABLES),
        norms={
            name: getattr(outer, f"norm_{theirs}").eps
            for name, theirs in _NAMES.items()
            if getattr(outer, f"norm_{theirs}") is not None
        },
    )
    if core.normalize_pattern:
        told["norms"]["association"] = core.normalize_pattern_eps
    return state, told


def _projections(core: Arrays, told: dict[str, Any], asked: Any) -> tuple[Arrays, Arrays]:
    """Weights and biases of the three projections that there are, by our names."""
    together, H = core.get("in_proj_weight"), told["num_heads"]
    if together is None:
        weights = {
            name: core[f"{letter}_proj_weight"]
            for name, letter in _LETTERS.items()
            if f"{letter}_proj_weight" in core
        }
    else:
        names = [n for n in _NAMES if n in told.get("projections", asked or _NAMES)]
        if together.shape[0] % (len(names) * H):
            raise ValueError(
                f"`source`: in_proj_weight has {together.shape[0]} rows, which are not those of "
                f"{', '.join(names)} in {H} heads. Is `num_heads` right? A module with static "
                "patterns must be told by `projections`."
            )
        weights = dict(zip(names, np.split(together, len(names)), strict=True))
    bias = core.get("in_proj_bias")
    ends = np.cumsum([weight.shape[0] for weight in weights.values()])
    biases = {} if bias is None else dict(zip(weights, np.split(bias, ends), strict=False))
    return _apart(weights, biases) if told.get("connected") else (weights, biases)


def _apart(weights: Arrays, biases: Arrays) -> tuple[Arrays, Arrays]:
    """Projections of values by themselves, where theirs come after that of the stored patterns."""
    first, shift = weights["memory"], biases.get("memory")
    second = weights.get("value", np.eye(first.shape[0], dtype=first.dtype))
    joined = {} if shift is None else {"value": second @ shift + biases.get("value", 0)}
    return weights | {"value": second @ first}, biases | joined


def _settings(
    own: Arrays,
    weights: Arrays,
    told: dict[str, Any],
    given: dict[str, Any],
) -> dict[str, Any]:
    """The options of the layer: sizes, projections, norms, biases, and unless they are given beta
    and steps."""
    H, sizes = told["num_heads"], {}
    for name, theirs in _NAMES.items():
        norm = own.get(f"norm_{theirs}.weight")
        if name in weights:
            sizes[name] = weights[name].shape[1]
        elif norm is not None:
            sizes[name] = norm.shape[0]
        elif (size := told.get("sizes", {}).get(name)) is not None:
            sizes[name] = size
    heads = [weights[name].shape[0] // H for name in ("query", "memory") if name in weights]
    qk = heads[0] if heads else told.get("qk_size")
    output = own.get(f"{_CORE}out_proj.weight")
    projections = [*weights, *([] if output is None else ["output"])]
    norms = [n for n, theirs in _NAMES.items() if f"norm_{theirs}.weight" in own]
    norms += ["association"] if f"{_CORE}p_norm_weight" in own else []
    biases = [f"{_CORE}in_proj_bias", f"{_CORE}out_proj.bias"]
    found = dict(
        projections=projections,
        norms=list(told["norms"]) if "norms" in told else norms,
        use_bias=any(name in own for name in biases),
        qk_size=qk,
        vo_size=weights["value"].shape[0] // H if "value" in weights else None,
        output_size=None if output is None else output.shape[0],
        dtype=next(iter(own.values())).dtype if own else None,
    )
    # Where a pattern is taken as it is, it has the size of what a projection would make.
    for name in _NAMES:
        size = sizes.get(name)
        found[f"{name}_size"] = size if name in weights or size is None else (qk or size)
    if "value" not in weights and "value" in sizes:
        found["value_size"] = found["vo_size"] = _unprojected(own, sizes["value"], H)
    found |= {name: _told(told, name) for name in ("beta", "steps") if name not in given}
    found |= {name: told.get(name) for name in ("dropout", "inference", "extra_items")}
    found = {name: value for name, value in found.items() if value is not None}
    return {"steps": None} | found if "steps" in told else found  # None: until they rest


def _told(told: dict[str, Any], name: str) -> Any:
    """The inverse temperature or the number of steps that a module tells; None for a state dict."""
    value = told.get(name)
    if name == "beta" and value is not None:
        value = np.ravel(value)
        if np.ptp(value) > 0:
            raise ValueError(
                "`source` has a `scaling` for each head, but theirs multiplies features by it in "
                "turn, not heads; give `beta`, a number or one for each head."
            )
        return float(value[0])
    if value is None:
        return None
    if not isinstance(value, int):
        raise ValueError(
            "`source` has no whole number of update steps for all heads (update_steps_max = "
            f"{shown(value)}); give `steps`, its number plus one."
        )
    return value + 1


def _unprojected(own: Arrays, size: int, H: int) -> int:
    """The size of values that are taken as they are."""
    output = own.get(f"{_CORE}out_proj.weight")
    return size if output is None else output.shape[1] // H


def _made(state: Arrays, H: int, settings: dict[str, Any], frozen: bool) -> Layer:
    """A layer of the kind of the arrays, with weights of its own."""
    options = dict(settings)
    if "query_size" not in options:
        raise ValueError("`source` does not tell the size of states; give `query_size`.")
    sizes = (H, options.pop("query_size"))
    if "pooling_weights" in state:
        number = state["pooling_weights"].size // sizes[1]
        options.setdefault("learn_queries", not frozen)
        return HopfieldPooling(number, *sizes, key=jr.key(0), **options)
    if "lookup_weights" in state:
        number = max(state["lookup_weights"].shape[:2])
        options["separate_values"] = "target_weights" in state
        options.setdefault("learn_memory", not frozen)
        return HopfieldLookup(number, *sizes, key=jr.key(0), **options)
    return HopfieldRetrieval(*sizes, key=jr.key(0), **options)


def _filled(
    layer: HopfieldRetrieval,
    own: Arrays,
    core: Arrays,
    weights: Arrays,
    biases: Arrays,
    told: dict[str, Any],
) -> HopfieldRetrieval:
    """The layer with all weights of the arrays."""
    linear = {n: (w, biases.get(n)) for n, w in weights.items()}
    if "out_proj.weight" in core:
        linear["output"] = core["out_proj.weight"], core.get("out_proj.bias")
    for name, (weight, bias) in linear.items():
        made = getattr(layer, f"{name}_proj")
        if made is None or made.weight.shape != weight.shape:
            raise ValueError(f"`source`: the weights of {name!r} have shape {weight.shape}.")
        layer = eqx.tree_at(
            lambda it, n=name: getattr(it, f"{n}_proj").weight, layer, jnp.asarray(weight)
        )
        if made.bias is not None:
            bias = np.zeros(made.bias.shape, weight.dtype) if bias is None else bias
            layer = eqx.tree_at(
                lambda it, n=name: getattr(it, f"{n}_proj").bias, layer, jnp.asarray(bias)
            )
    eps = told.get("norms", {})
    for name in (*_NAMES, "association"):
        made = getattr(layer, f"{name}_norm")
        if made is None:
            continue
        theirs = f"norm_{_NAMES[name]}." if name in _NAMES else f"{_CORE}p_norm_"
        weight, bias = own.get(f"{theirs}weight"), own.get(f"{theirs}bias")
        affine = dict(use_weight=weight is not None, use_bias=bias is not None)
        norm = eqx.nn.LayerNorm(made.shape, eps=eps.get(name, made.eps), **affine)
        if weight is not None:
            norm = eqx.tree_at(
                lambda n: (n.weight, n.bias), norm, (jnp.asarray(weight), jnp.asarray(bias))
            )
        layer = eqx.tree_at(lambda it, n=name: getattr(it, f"{n}_norm"), layer, norm)
    return layer


def to_torch(layer: Layer | Block) -> Arrays:
    r"""The weights of a layer by the names of hopfield-layers: a state dict of NumPy arrays, which
    `safetensors.numpy.save_file` writes.

    It is that of a module of the same sizes, which was told no `pattern_size` where this is the
    hidden size. **`beta` and `steps` are no part of it**: give them to theirs as `scaling` and
    `update_steps_max` = `steps - 1`, and to `from_torch` again.

    **Raises:** TypeError for another layer; ValueError for options that no module of theirs has.

    **Example:**

    ```python
    layer = hx.nn.HopfieldRetrieval(2, 4, key=jax.random.key(0))
    hx.nn.to_torch(layer)["association_core.in_proj_weight"].shape  # (12, 4)
    ```
    """
    if isinstance(layer, Block):
        return block_arrays(layer, to_torch)
    if not isinstance(layer, Layer):
        raise TypeError(
            "`layer` must be a HopfieldRetrieval, HopfieldLookup, HopfieldPooling, HopfieldEncoder "
            f"or HopfieldDecoder, got {shown(layer)}."
        )
    made = layer if isinstance(layer, HopfieldRetrieval) else layer.retrieval
    for name in ("separation", "positions", "bias_item"):
        if getattr(made, name) is not None:
            raise ValueError(f"`layer` has `{name}`, which no module of hopfield-layers has.")
    if made.num_kv_heads != made.num_heads:
        raise ValueError(
            f"`layer` has {made.num_kv_heads} heads of keys for {made.num_heads} of queries; "
            "modules of hopfield-layers have as many."
        )
    if isinstance(layer, HopfieldRetrieval):
        return {name: np.asarray(value) for name, value in _arrays(layer).items()}
    found = {f"{_WRAPPED}{name}": value for name, value in _arrays(layer.retrieval).items()}
    if isinstance(layer, HopfieldPooling):
        found["pooling_weights"] = held(layer.queries)[None]
    else:
        found["lookup_weights"] = held(layer.memory)[None]
        if layer.values is not None:
            found["target_weights"] = held(layer.values)[None]
    return {name: np.asarray(value) for name, value in found.items()}


def _arrays(layer: HopfieldRetrieval) -> dict[str, Any]:
    found, weights, biases = {}, {}, []
    for name, theirs in _NAMES.items():
        norm, projection = getattr(layer, f"{name}_norm"), getattr(layer, f"{name}_proj")
        if norm is not None and norm.weight is not None:
            found[f"norm_{theirs}.weight"], found[f"norm_{theirs}.bias"] = norm.weight, norm.bias
        if projection is not None:
            weights[name] = projection.weight
            biases += [] if projection.bias is None else [projection.bias]
    shapes = {weight.shape for weight in weights.values()}
    alike = len(shapes) == 1 and layer.query_size == layer.memory_size == layer.value_size
    if alike:
        found[f"{_CORE}in_proj_weight"] = jnp.concatenate(list(weights.values()))
    else:
        for name, weight in weights.items():
            found[f"{_CORE}{_LETTERS[name]}_proj_weight"] = weight
    if biases:
        if "value" not in weights:  # they keep room for it all the same
            last = layer.output_proj.weight.shape[1] if layer.output_proj else 0
            biases.append(jnp.zeros(last, biases[0].dtype))
        found[f"{_CORE}in_proj_bias"] = jnp.concatenate(biases)
    if layer.output_proj is not None:
        found[f"{_CORE}out_proj.weight"] = layer.output_proj.weight
        if layer.output_proj.bias is not None:
            found[f"{_CORE}out_proj.bias"] = layer.output_proj.bias
    return found
