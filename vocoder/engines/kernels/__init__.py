"""The loops of the cpu engine, compiled by numba: arrays in, arrays out; whoever calls has seen to their shapes."""
