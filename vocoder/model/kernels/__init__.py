"""The loops of a residual layer in training on the CPU, compiled by numba: arrays in, arrays out."""
