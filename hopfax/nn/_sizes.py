"""Sizes of the inputs, heads and outputs of a `HopfieldRetrieval`."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from ._precision import as_size

Projection: TypeAlias = Literal["query", "memory", "value", "output"]


class Sizes(NamedTuple):
    """Features of each input and of the output; `qk`, `vo`: of a key and of a value in one head."""

    query: int
    memory: int
    value: int
    output: int
    qk: int
    vo: int


def all_sizes(
    H: int,
    query_size: int,
    memory_size: int | None,
    value_size: int | None,
    output_size: int | None,
    qk_size: int | None,
    vo_size: int | None,
    projections: Sequence[Projection],
) -> Sizes:
    """All sizes, with those that were not given; ValueError naming one that does not fit."""
    query = as_size(query_size, "query_size")
    if qk_size is None and query % H and "query" in projections:
        raise ValueError(
            f"`query_size` must be a multiple of `num_heads` = {H}, got {query}; or give "
            "`qk_size`, the features of a head."
        )
    unprojected = query if "query" not in projections else query // H
    qk = as_size(unprojected if qk_size is None else qk_size, "qk_size")
    memory = as_size(query if memory_size is None else memory_size, "memory_size")
    value = as_size(memory if value_size is None else value_size, "value_size")
    unprojected = value if "value" not in projections else qk
    vo = as_size(unprojected if vo_size is None else vo_size, "vo_size")
    output = as_size(query if output_size is None else output_size, "output_size")
    for name, given, made, what in (
        ("query", query, qk, "qk_size"),
        ("memory", memory, qk, "qk_size"),
        ("value", value, vo, "vo_size"),
    ):
        if name not in projections and given != made:
            raise ValueError(
                f"`{name}_size` must be `{what}` = {made} where `projections` leave out "
                f"{name!r}, got {given}."
            )
    return Sizes(query, memory, value, output, qk, vo)


def check_sizes(layer: Any) -> None:
    """ValueError unless norms and projections fit the sizes of the layer."""
    H, made = layer.num_heads, {}
    if H % layer.num_kv_heads:
        raise ValueError(f"`num_kv_heads` must divide `num_heads` = {H}, got {layer.num_kv_heads}.")
    for name in ("query", "memory", "value"):
        size = getattr(layer, f"{name}_size")
        norm, projection = getattr(layer, f"{name}_norm"), getattr(layer, f"{name}_proj")
        if norm is not None and norm.shape != (size,):
            raise ValueError(f"`{name}_norm` must have shape {(size,)}, got {norm.shape}.")
        made[name] = size
        if projection is not None:
            heads = H if name == "query" else layer.num_kv_heads
            total, given = projection.weight.shape
            if given != size or total % heads:
                raise ValueError(
                    f"`{name}_proj` must take {size} features and make some for each of {heads} "
                    f"heads, but takes {given} and makes {total}."
                )
            made[name] = total // heads
    if made["query"] != made["memory"]:
        raise ValueError(
            f"queries have {made['query']} features in a head, and keys {made['memory']}."
        )
    norm = layer.association_norm
    if norm is not None and norm.shape != (made["query"],):
        raise ValueError("`association_norm` must have one entry for each feature of a head.")
    made = H * made["value"]
    if layer.output_proj is not None and layer.output_proj.weight.shape[1] != made:
        raise ValueError(f"`output_proj` must take {made} features, of all heads.")
