"""A page on which networks are run while one moves sliders: `hopfax explore`.

`_model` says what a view asks for and shows; `_sequential`, `_dense`, `_rate` compute it, each by
one program for every number of memories; `_memories` holds what is stored. None of them knows of a
browser: `bokeh/` makes the page and serves it.
"""
