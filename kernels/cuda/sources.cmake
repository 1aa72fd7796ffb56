# The files of the GPU's module: for libcnas_cuda.so (CMakeLists.txt beside this) and libcnas_simt.so (tests/simt).
set(CNAS_CUDA_SOURCES census.c column.c device.c faults.c memory.c nvrtc.c program.c signature.c upload.c
  accumulate.cu activation.cu arithmetic.cu arithmetic_float.cu batch_norm.cu block_add.cu block_conv.cu
  block_norm.cu block_pointwise.cu block_pool.cu block_reduce.cu block_separable.cu cast.cu clamp.cu compare.cu
  concat.cu contiguous.cu conv2d.cu cross_entropy.cu dropout.cu extremum.cu fill.cu images.cu index.cu linear.cu lstm.cu
  matmul.cu norm.cu optimizer.cu pool.cu random_fill.cu reduce.cu softmax.cu subsample.cu topk.cu where.cu)
