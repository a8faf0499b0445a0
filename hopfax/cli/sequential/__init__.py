"""The commands of memories that follow one another: two-timescale networks."""
