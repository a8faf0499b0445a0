"""The commands of dense memories: interactions of higher order, in discrete time."""
