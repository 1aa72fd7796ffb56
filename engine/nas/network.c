/* network.c - the evaluation network of one genotype, for images of CIFAR's or ImageNet's size. */
#include "nas/network.h"

#include <stdio.h>

#include "base/memory.h"
#include "nas/backbone.h"

typedef struct Network {
  CnBackbone backbone;
  bool auxiliary;
  double drop_path;
  CnRng *noise; /* borrowed */
} Network;

static void network_destroy(CnModule *m) {
  cn_free(m->data);
}

static void network_describe(const CnModule *m, char *text, size_t size) {
  const Network *n = m->data;
  snprintf(text, size, "%s, %d cells%s", n->backbone.stems == 2 ? "imagenet" : "cifar", n->backbone.layers,
           n->backbone.precision == CN_BF16 ? ", bf16" : "");
}

/* As a module among others it gives its logits. */
static CnErr network_forward(CnModule *m, CnTensor **out, CnTensor *const *x, int nx) {
  (void)nx;
  return cn_network_forward(m, out, NULL, x[0]);
}

static const CnModuleKind network_kind = {
  .name = "network",
  .forward = network_forward,
  .destroy = network_destroy,
  .describe = network_describe,
};

bool cn_network_is(const CnModule *m) {
  return m->kind == &network_kind;
}

/* A space of just the built-in operations that the genotype names. */
static CnErr builtin_space(CnSpace **out, const CnGenotype *g) {
  const CnCellArch *cell[2] = { &g->normal, &g->reduction };
  CnSpace *s;
  CN_TRY(cn_space_new(&s));
  CnErr e = CN_OK;
  for (int k = 0; k < 2; k++)
    for (int i = 0; i < cell[k]->count && e == CN_OK; i++)
      if (cn_space_find(s, cell[k]->triple[i].op) < 0) e = cn_space_add(s, cell[k]->triple[i].op);
  if (e == CN_OK) *out = s;
  else cn_space_unref(s);
  return e;
}

static CnErr build(CnModule **out, const CnNetworkOptions *o, const CnSpace *space, CnRng *rng) {
  CnBackboneOptions parts = { .space = space, .genotype = o->genotype, .nodes = cn_cell_nodes(&o->genotype->normal),
                              .channels = o->channels, .layers = o->layers, .classes = o->classes,
                              .in_channels = o->in_channels != 0 ? o->in_channels : 3, .imagenet = o->imagenet,
                              .auxiliary = o->auxiliary, .precision = o->precision };
  CnModule *m;
  Network *n = cn_alloc_zeroed(sizeof *n);
  if (n == NULL) return CN_EMEMORY;
  n->auxiliary = o->auxiliary;
  n->noise = o->noise;
  CnErr e = cn_module_new(&m, &network_kind, n);
  if (e != CN_OK) {
    cn_free(n);
    return e;
  }
  e = cn_backbone_build(m, &n->backbone, &parts, rng);
  if (e == CN_OK) e = cn_network_set_drop_path(m, o->drop_path);
  if (e == CN_OK) *out = m;
  else cn_module_unref(m);
  return e;
}

CnErr cn_network_new(CnModule **out, CnNetworkOptions o, CnRng *rng) {
  CnSpace *space = NULL;
  CN_TRY(cn_genotype_check(o.genotype, o.space));
  if (o.space == NULL) CN_TRY(builtin_space(&space, o.genotype));
  CnErr e = build(out, &o, o.space != NULL ? o.space : space, rng);
  cn_space_unref(space);
  return e;
}

static CnErr check_network(const CnModule *m) {
  return cn_network_is(m) ? CN_OK : cn_fail(CN_EUSAGE, "network: expected a network, got %s", m->kind->name);
}

CnErr cn_network_set_drop_path(CnModule *m, double probability) {
  CN_TRY(check_network(m));
  if (!(probability >= 0 && probability < 1))
    return cn_fail(CN_EUSAGE, "network: drop_path must be in [0, 1), got %g", probability);
  ((Network *)m->data)->drop_path = probability;
  return CN_OK;
}

double cn_network_drop_path(const CnModule *m) {
  return ((const Network *)m->data)->drop_path;
}

CnErr cn_network_forward(CnModule *m, CnTensor **logits, CnTensor **auxiliary, CnTensor *images) {
  CN_TRY(check_network(m));
  const Network *n = m->data;
  CnCellCall call[2] = { { .noise = n->noise } };
  CnTensor *tapped = NULL;
  if (m->training && n->noise != NULL) call[0].drop_path = n->drop_path;
  call[1] = call[0];
  bool wanted = auxiliary != NULL && n->auxiliary && m->training;
  if (auxiliary != NULL) *auxiliary = NULL;
  CN_TRY(cn_backbone_forward(m, &n->backbone, logits, wanted ? &tapped : NULL, images, call));
  if (!wanted) return CN_OK;
  CnErr e = cn_module_forward1(m->slots[m->count - 2].child, auxiliary, tapped);
  cn_tensor_unref(tapped);
  if (e == CN_OK) return CN_OK;
  cn_tensor_unref(*logits);
  *logits = NULL;
  return cn_fail_within(e, "in auxiliary_head: ");
}

CnErr cn_network_cost(CnCost *out, CnModule *m, int64_t height, int64_t width) {
  CN_TRY(check_network(m));
  const CnCellCall call[2] = { { 0 } };
  return cn_backbone_cost(m, m->data, out, height, width, call);
}
