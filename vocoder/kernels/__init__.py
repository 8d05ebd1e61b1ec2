"""Compiled loops for the CPU: matrix products, the residual layer in training, generation. Arrays in, arrays out."""
