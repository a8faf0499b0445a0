"""Weights of encoder and decoder blocks of PyTorch and of hopfield-layers, read and given back."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from .._errors import shown
from ._blocks import HopfieldDecoder, HopfieldEncoder

Block: TypeAlias = HopfieldEncoder | HopfieldDecoder

_ENCODER, _SELF, _CROSS = (f"hopfield_association{name}." for name in ("", "_self", "_cross"))
#: Names of hopfield-layers for parts of a block; those of PyTorch's own are turned into them.
_ASSOCIATIONS = {
    HopfieldEncoder: dict(association=_ENCODER),
    HopfieldDecoder: dict(association=_SELF, memory_association=_CROSS),
}
_NORMS = {
    HopfieldEncoder: dict(association_norm="norm_residual", output_norm="norm_output"),
    HopfieldDecoder: dict(
        association_norm="norm_residual_self",
        memory_norm="norm_residual_cross",
        output_norm="norm_output",
    ),
}
_LINEAR = dict(inner="linear_residual", outer="linear_output")
_OWN_OPTIONS = ("activation", "norm_first", "dropout")


def is_block(source: Any) -> bool:
    """Whether a module or a state dict is that of an encoder or decoder block."""
    return _kind(_names(source)) is not None


def read_block(source: Any, read: Callable[..., Any], options: dict[str, Any]) -> Block:
    """The block with the weights of a module or a state dict.

    **Arguments:** `read`: makes a `HopfieldRetrieval` of a module or a state dict, as `from_torch`.
    `options`: `num_heads`, those of the block, and those of its retrievals.
    """
    state, told = _read(source)
    kind = _kind(state) or HopfieldEncoder
    ours = told | {name: options.pop(name) for name in _OWN_OPTIONS if name in options}
    ours |= {name: options[name] for name in ("inference",) if name in options}
    if "weight_dropout" in options:
        options["dropout"] = options.pop("weight_dropout")
    parts = {
        ours_: _association(source, state, theirs, read, options)
        for ours_, theirs in _ASSOCIATIONS[kind].items()
    }
    weight = _wanted(state, "linear_residual.weight")
    eps = ours.pop("eps", {})
    made = kind(1, weight.shape[1], width=weight.shape[0], key=jr.key(0), **ours)
    for name, part in parts.items():
        made = eqx.tree_at(lambda it, n=name: getattr(it, n), made, part)
    return _filled(made, state, eps)


def block_arrays(block: Block, arrays: Callable[[Any], Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """The weights of a block by the names of hopfield-layers.

    **Arguments:** `arrays`: those of a `HopfieldRetrieval`, as `to_torch` gives them.
    """
    found = {}
    for ours, theirs in _ASSOCIATIONS[type(block)].items():
        part = arrays(getattr(block, ours))
        found |= {f"{theirs}{name}": value for name, value in part.items()}
    for ours, theirs in _LINEAR.items():
        linear = getattr(block, ours)
        found |= {f"{theirs}.weight": linear.weight, f"{theirs}.bias": linear.bias}
    for ours, theirs in _NORMS[type(block)].items():
        norm = getattr(block, ours)
        found |= {f"{theirs}.weight": norm.weight, f"{theirs}.bias": norm.bias}
    return {name: np.asarray(value) for name, value in found.items()}


def as_array(value: Any, name: Any) -> np.ndarray:
    """A tensor, or what is an array already."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.numpy() if "bfloat16" not in str(value.dtype) else value.float().numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "fV":
        raise TypeError(f"`source[{name!r}]` must be an array of floats, got {shown(value)}.")
    return array


def _names(source: Any) -> list[str]:
    if isinstance(source, Mapping):
        return [str(name) for name in source]
    return list(source.state_dict()) if callable(getattr(source, "state_dict", None)) else []


def _kind(names: Any) -> type[Block] | None:
    """The kind of block of which these are names of weights."""
    if any(name.startswith((_CROSS, "multihead_attn.")) for name in names):
        return HopfieldDecoder
    if any(name.startswith((_ENCODER, "self_attn.")) for name in names):
        return HopfieldEncoder
    return None


def _read(source: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays by the names of hopfield-layers, and what a module tells beside them."""
    module = not isinstance(source, Mapping)
    state = dict(source.state_dict()) if module else {str(name): v for name, v in source.items()}
    plain = any(name.startswith("self_attn.") for name in state)
    if plain:
        state = _renamed(state)
    if not module:
        return state, {}
    activation = source.activation if plain else source.activation_residual
    dropout = source.dropout if plain else source.dropout_residual
    told = dict(
        activation=getattr(activation, "__name__", None),
        dropout=dropout.p,
        inference=not source.training,
    )
    if told["activation"] not in ("relu", "gelu"):
        raise ValueError(
            f"`source` has the activation {shown(activation)}, but blocks have relu or gelu."
        )
    if plain:
        told["norm_first"] = source.norm_first
    norms = _NORMS[_kind(state) or HopfieldEncoder]
    theirs = dict(zip(norms, ("norm1", "norm2", "norm3"), strict=False)) if plain else norms
    told["eps"] = {ours: getattr(source, name).eps for ours, name in theirs.items()}
    return state, told


def _renamed(state: dict[str, Any]) -> dict[str, Any]:
    """Weights of a `TransformerEncoderLayer` or `TransformerDecoderLayer` by the names of
    hopfield-layers."""
    kind = _kind(state) or HopfieldEncoder
    names = dict(zip(("norm1", "norm2", "norm3"), _NORMS[kind].values(), strict=False))
    names |= dict(linear1="linear_residual", linear2="linear_output")
    attentions = ("self_attn", "multihead_attn")
    for theirs, prefix in zip(attentions, _ASSOCIATIONS[kind].values(), strict=False):
        names[theirs] = f"{prefix}association_core"
    found = {}
    for name, value in state.items():
        part, _, rest = name.partition(".")
        found[f"{names.get(part, part)}.{rest}"] = value
    return found


def _association(
    source: Any, state: dict[str, Any], prefix: str, read: Callable[..., Any], options: dict
) -> Any:
    """One retrieval of a block, from the module inside, or from the weights."""
    part = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
    if isinstance(source, Mapping):
        return read(part, **options)
    inside = getattr(source, prefix.rstrip("."), None)
    if inside is not None:
        return read(inside, **options)
    theirs = source.multihead_attn if prefix == _CROSS else source.self_attn
    told = dict(num_heads=theirs.num_heads, dropout=theirs.dropout, inference=not source.training)
    return read(part, **(told | options))


def _filled(made: Block, state: dict[str, Any], eps: dict[str, float]) -> Block:
    """The block with the weights of its linear maps and norms."""

    for ours, theirs in _LINEAR.items():
        old = getattr(made, ours)
        values = tuple(_wanted(state, f"{theirs}.{name}") for name in ("weight", "bias"))
        if values[0].shape != old.weight.shape:
            raise ValueError(
                f"`source`: {theirs}.weight has shape {values[0].shape}, not {old.weight.shape}."
            )
        linear = eqx.tree_at(lambda it: (it.weight, it.bias), old, values)
        made = eqx.tree_at(lambda it, n=ours: getattr(it, n), made, linear)
    for ours, theirs in _NORMS[type(made)].items():
        old = getattr(made, ours)
        norm = eqx.nn.LayerNorm(old.shape, eps=eps.get(ours, 1e-5))
        values = tuple(_wanted(state, f"{theirs}.{name}") for name in ("weight", "bias"))
        norm = eqx.tree_at(lambda it: (it.weight, it.bias), norm, values)
        made = eqx.tree_at(lambda it, n=ours: getattr(it, n), made, norm)
    return made


def _wanted(state: dict[str, Any], name: str) -> Any:
    """An array of the state; ValueError if it has none of this name."""
    if name not in state:
        raise ValueError(f"`source` has no {name!r}, without which there is no block here.")
    return jnp.asarray(as_array(state[name], name))
