# The files of the GPU's module: for libcnas_cuda.so (CMakeLists.txt beside this) and libcnas_simt.so (tests/simt).
set(CNAS_CUDA_SOURCES column.c device.c faults.c
  accumulate.cu activation.cu arithmetic.cu arithmetic_float.cu cast.cu clamp.cu compare.cu concat.cu contiguous.cu
  dropout.cu fill.cu norm.cu random_fill.cu reduce.cu where.cu)
