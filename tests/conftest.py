"""All tests run in float64 and without silent dtype promotion.

Do not import hopfax here: the type-checking import hook of the test run is installed later.
"""

import jax

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
