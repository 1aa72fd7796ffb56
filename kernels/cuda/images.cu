/* images.cu - batches of images that live on the GPU as bytes: what data/augment.c makes of them, to the bit. */
#include "kernels/cuda/kernel.cuh"

extern "C" {
#include "kernels/cuda/module.h"
}

namespace {

constexpr int EACH = 4; /* elements that a thread makes */

struct Images {
  const uint8_t *pixels;
  const int64_t *labels, *order;
  const float *values;
  int height, width, channels;
  CnAugment augment;
  CnRng draws;
  int64_t pass, first;
};

/* Image blockIdx.x of the batch: THREADS * EACH elements of it for each blockIdx.y. */
__global__ void __launch_bounds__(THREADS) make_images(const Images from, float *x, int64_t *y) {
  int64_t position = from.first + blockIdx.x, image = from.order[position];
  const CnAugmentDraw draw = cn_augment_draw(&from.augment, from.draws, from.pass, position, from.height, from.width);
  if (blockIdx.y == 0 && threadIdx.x == 0) y[blockIdx.x] = from.labels[image];
  int row = from.width * from.channels, size = from.height * row, side = from.augment.cutout;
  int top = draw.cut_y - side / 2, left = draw.cut_x - side / 2;
  const uint8_t *in = from.pixels + image * size;
  float *out = x + static_cast<int64_t>(blockIdx.x) * size;
  int i = static_cast<int>(blockIdx.y) * THREADS * EACH + static_cast<int>(threadIdx.x);
#pragma unroll
  for (int k = 0; k < EACH; k++, i += THREADS) {
    if (i >= size) return;
    int line = i / row, column = i % row / from.channels, channel = i % from.channels;
    int from_y = line + draw.dy, from_x = (draw.flip ? from.width - 1 - column : column) + draw.dx;
    bool inside = from_y >= 0 && from_y < from.height && from_x >= 0 && from_x < from.width;
    bool cut = line >= top && line < top + side && column >= left && column < left + side;
    int byte = inside ? in[from_y * row + from_x * from.channels + channel] : 0;
    out[i] = cut ? 0.0f : from.values[channel * 256 + byte];
  }
}

} // namespace

extern "C" CnErr cn_cuda_images(const CnGpuImages *from, CnTensor *x, CnTensor *y) {
  static const CnOp op = { CN_OPS, CN_FORWARD, "loader", "", "", "", CN_FLOATS, "", NULL, NULL, NULL, "" };
  CnCall call = {}; /* for the launch's error alone */
  call.op = &op;
  call.device = x->storage->device;
  CN_TRY(cn_cuda_use(call.device.index));
  const int64_t *shape = from->pixels->shape;
  const Images images = { data<const uint8_t>(from->pixels), data<const int64_t>(from->labels),
                          data<const int64_t>(from->order), data<const float>(from->values),
                          static_cast<int>(shape[1]), static_cast<int>(shape[2]), static_cast<int>(shape[3]),
                          from->augment, from->draws, from->pass, from->first };
  int64_t size = shape[1] * shape[2] * shape[3];
  dim3 grid(static_cast<unsigned>(x->shape[0]), static_cast<unsigned>(ceil_div<int64_t>(size, THREADS * EACH)));
  return launch(&call, make_images, grid, THREADS, 0, images, data<float>(x), data<int64_t>(y));
}
