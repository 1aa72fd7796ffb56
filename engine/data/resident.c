/* resident.c - see resident.h. One copy of a set of images, on the GPU that wanted it last. */
#include "data/resident.h"

#include "base/memory.h"

struct CnResident {
  CnDevice gpu;
  CnTensor *pixels, *labels, *values; /* u8 (M,H,W,C), i64 (M), f32 (C,256) */
};

void cn_resident_free(CnResident *r) {
  if (r == NULL) return;
  cn_tensor_unref(r->pixels);
  cn_tensor_unref(r->labels);
  cn_tensor_unref(r->values);
  cn_free(r);
}

/* A tensor there with the values from here. */
static CnErr sent(CnTensor **out, CnDtype dtype, CnDevice gpu, int ndim, const int64_t *shape, const void *values) {
  CnTensor *t;
  CN_TRY(cn_tensor_new(&t, dtype, gpu, ndim, shape));
  CnErr e = cn_tensor_write(t, values, cn_tensor_bytes(t));
  if (e == CN_OK) *out = t;
  else cn_tensor_unref(t);
  return e;
}

static CnErr send_all(CnResident *r, const CnImages *m) {
  CnNormal normal;
  cn_normal_init(&normal, m);
  CN_TRY(sent(&r->pixels, CN_U8, r->gpu, 4, (int64_t[]){ m->count, m->height, m->width, m->channels }, m->pixels));
  CN_TRY(sent(&r->labels, CN_I64, r->gpu, 1, &m->count, m->labels));
  return sent(&r->values, CN_F32, r->gpu, 2, (int64_t[]){ m->channels, 256 }, normal.value);
}

/* The images' copy on a GPU, made if it is not there. */
static CnErr resident(const CnResident **out, CnImages *m, CnDevice gpu) {
  if (m->resident != NULL && !cn_device_equal(m->resident->gpu, gpu)) {
    cn_resident_free(m->resident);
    m->resident = NULL;
  }
  if (m->resident == NULL) {
    CnResident *r = cn_alloc_zeroed(sizeof *r);
    if (r == NULL) return CN_EMEMORY;
    r->gpu = gpu;
    CnErr e = send_all(r, m);
    if (e != CN_OK) {
      cn_resident_free(r);
      return e;
    }
    m->resident = r;
  }
  *out = m->resident;
  return CN_OK;
}

CnErr cn_resident_pass(CnGpuImages *out, CnDataset *d, const int64_t *order, int64_t count, CnDevice gpu) {
  const CnResident *r;
  CnTensor *sent_order;
  CN_TRY(resident(&r, d->images, gpu));
  int64_t *image = cn_alloc((size_t)count * sizeof *image);
  if (image == NULL) return CN_EMEMORY;
  for (int64_t i = 0; i < count; i++) image[i] = cn_dataset_position(d, order != NULL ? order[i] : i);
  CnErr e = sent(&sent_order, CN_I64, gpu, 1, &count, image);
  cn_free(image);
  CN_TRY(e);
  out->pixels = cn_tensor_ref(r->pixels);
  out->labels = cn_tensor_ref(r->labels);
  out->values = cn_tensor_ref(r->values);
  out->order = sent_order;
  return CN_OK;
}

CnErr cn_resident_batch(CnTensor **x, CnTensor **y, CnGpuImages *from, int64_t first, int64_t count) {
  const CnGpu *gpu;
  const int64_t *image = from->pixels->shape, shape[4] = { count, image[1], image[2], image[3] };
  CnDevice device = cn_tensor_device(from->pixels);
  CnTensor *a = NULL, *b = NULL;
  CN_TRY(cn_gpu(&gpu));
  CnErr e = cn_tensor_new(&a, CN_F32, device, 4, shape);
  if (e == CN_OK) e = cn_tensor_new(&b, CN_I64, device, 1, shape);
  from->first = first;
  if (e == CN_OK) e = gpu->images(from, a, b);
  if (e != CN_OK) {
    cn_tensor_unref(a);
    cn_tensor_unref(b);
    return e;
  }
  *x = a;
  *y = b;
  return CN_OK;
}

void cn_resident_end(CnGpuImages *pass) {
  cn_tensor_unref(pass->pixels);
  cn_tensor_unref(pass->labels);
  cn_tensor_unref(pass->values);
  cn_tensor_unref(pass->order);
  pass->pixels = pass->labels = pass->values = pass->order = NULL;
}
