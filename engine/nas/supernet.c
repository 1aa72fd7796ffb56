/* supernet.c - the weight-sharing network: every operation on every edge owns weights, a call runs one path. */
#include <inttypes.h>
#include <stdio.h>

#include "base/memory.h"
#include "nas/backbone.h"

typedef struct Supernet {
  CnBackbone backbone;
  CnSpace *space;
} Supernet;

static void supernet_destroy(CnModule *m) {
  Supernet *s = m->data;
  cn_space_unref(s->space);
  cn_free(s);
}

static void supernet_describe(const CnModule *m, char *text, size_t size) {
  const Supernet *s = m->data;
  snprintf(text, size, "%d operations, %d cells%s", s->space->count, s->backbone.layers,
           s->backbone.precision == CN_BF16 ? ", bf16" : "");
}

static const CnModuleKind supernet_kind = {
  .name = "supernet",
  .destroy = supernet_destroy,
  .describe = supernet_describe,
};

bool cn_supernet_is(const CnModule *m) {
  return m->kind == &supernet_kind;
}

CnErr cn_supernet_new(CnModule **out, CnSupernetOptions o, CnRng *rng) {
  CnBackboneOptions parts = { .space = o.space, .nodes = o.nodes, .channels = o.channels, .layers = o.layers,
                              .classes = o.classes, .in_channels = o.in_channels != 0 ? o.in_channels : 3,
                              .precision = o.precision };
  CnModule *m;
  Supernet *s = cn_alloc_zeroed(sizeof *s);
  if (s == NULL) return CN_EMEMORY;
  CnErr e = cn_module_new(&m, &supernet_kind, s);
  if (e != CN_OK) {
    cn_free(s);
    return e;
  }
  s->space = cn_space_ref(o.space);
  e = cn_backbone_build(m, &s->backbone, &parts, rng);
  if (e == CN_OK) *out = m;
  else cn_module_unref(m);
  return e;
}

/* One cell type's triples with their operations' numbers in the space. */
static void resolve(const CnSpace *space, const CnCellArch *arch, CnCellCall *call) {
  *call = (CnCellCall){ .path = arch };
  for (int i = 0; i < arch->count; i++) call->operation[i] = cn_space_find(space, arch->triple[i].op);
}

/* The calls of normal and reduction cells for a path, checked. */
static CnErr path_calls(const CnModule *m, const CnGenotype *path, CnCellCall call[2]) {
  if (!cn_supernet_is(m)) return cn_fail(CN_EUSAGE, "supernet: expected a supernet, got %s", m->kind->name);
  const Supernet *s = m->data;
  CN_TRY(cn_genotype_check(path, s->space));
  resolve(s->space, &path->normal, &call[0]);
  resolve(s->space, &path->reduction, &call[1]);
  return CN_OK;
}

CnErr cn_supernet_forward(CnModule *m, CnTensor **logits, CnTensor *images, const CnGenotype *path) {
  CnCellCall call[2];
  CN_TRY(path_calls(m, path, call));
  return cn_backbone_forward(m, m->data, logits, NULL, images, call);
}

CnErr cn_supernet_cost(CnCost *out, CnModule *m, const CnGenotype *path, int64_t height, int64_t width) {
  CnCellCall call[2];
  CN_TRY(path_calls(m, path, call));
  return cn_backbone_cost(m, m->data, out, height, width, call);
}
