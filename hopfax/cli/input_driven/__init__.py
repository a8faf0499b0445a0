"""The commands of the input-driven field by itself."""
