"""Examples that train: run them with `python -m hopfax.examples.NAME`, or read them."""
