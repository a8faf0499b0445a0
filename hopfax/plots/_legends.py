"""Legends beside a picture, one for each kind of thing in it."""

from collections.abc import Mapping
from typing import Any

from ._axes import Artist, Axes, Style


def legend_below(ax: Axes, handles: list[Artist], columns: int) -> None:
    """Put a legend below the Axes and their label."""
    if handles:
        place: Style = dict(loc="upper center", bbox_to_anchor=(0.5, -0.11), ncols=columns)
        ax.legend(handles=handles, fontsize="small", frameon=False, **place)


def legend_above(ax: Axes, handles: list[Artist]) -> None:
    """Put a legend above the Axes."""
    if handles:
        place: Style = dict(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(handles))
        ax.legend(handles=handles, fontsize="small", frameon=False, **place)


def legends_below(ax: Axes, groups: Mapping[str, list[Artist]]) -> None:
    """Put a legend for each group that has entries below the Axes, side by side, with its name as
    title: regimes apart from theory."""
    there = {title: handles for title, handles in groups.items() if handles}
    # Evenly from the left to the right, the outer ones flush with the Axes.
    places = {1: ("upper center",), 2: ("upper left", "upper right")}
    corners = places.get(len(there), ("upper left", "upper center", "upper right"))
    across = {"upper left": 0.0, "upper center": 0.5, "upper right": 1.0}
    legend: Any = None
    for corner, (title, handles) in zip(corners, there.items(), strict=True):
        if legend is not None:
            ax.add_artist(legend)
        columns = 2 if title == "regime" and len(handles) > 3 else 1
        place: Style = dict(loc=corner, bbox_to_anchor=(across[corner], -0.11), ncols=columns)
        style: Style = dict(fontsize="small", title_fontsize="small", frameon=False)
        legend = ax.legend(handles=handles, title=title, alignment="left", **style, **place)
