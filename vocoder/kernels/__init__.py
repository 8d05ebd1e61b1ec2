"""Compiled loops for the CPU, arrays in, arrays out. From the bottom up:

processor        what this processor multiplies
jit              decorators, cache on disk, notices
bfloat16, math   conversions, elementary functions
micro_kernels    the innermost loop of a product, as LLVM vector code
amx              the same on matrix units
matmul           the matrix product, by either; packing of its weights
rows             operations on the channels of one sample
winograd         convolutions in fewer products: the plan
dilated          the dilated convolution by that plan, its transforms
residual_layer   the residual layer in training, forwards and backwards; `parallel` compiles and runs it
generate         a frame of generation; `arrays` are its arguments
"""
