/* shapes.c - see shapes.h.
**
** A picture is painted in float RGB, back to front: textured background, fragments, the shape, one fragment that may
** hide part of it, noise. A shape is a signed distance in its own frame, where it has a radius of about 1; a pixel's
** coverage is how far it lies inside, in pixels, which smooths the edges. */
#include "data/shapes.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "base/threads.h"

#define SIDE 32
#define PI 3.14159265f
#define BLOCKS 4096 /* random blocks reserved for an image: SIDE² of noise and a few hundred draws */

typedef struct Point {
  float x, y;
} Point;

static const char *const class_names[CN_SHAPES_CLASSES] = { "disc", "ring", "square", "triangle", "star", "cross",
                                                            "crescent", "heart", "hexagon", "arrow" };

/* Of many images; the channels are alike. */
static const float mean[3] = { 0.413f, 0.413f, 0.413f };
static const float deviation[3] = { 0.221f, 0.221f, 0.221f };

/* ---- Outlines ---- */

static const Point square[] = { { -0.76f, -0.76f }, { 0.76f, -0.76f }, { 0.76f, 0.76f }, { -0.76f, 0.76f } };
static const Point triangle[] = { { 0, -1.1f }, { 0.953f, 0.55f }, { -0.953f, 0.55f } };
static const Point star[] = { { 0, -1.1f }, { 0.282f, -0.388f }, { 1.046f, -0.34f }, { 0.457f, 0.148f },
                              { 0.647f, 0.89f }, { 0, 0.48f }, { -0.647f, 0.89f }, { -0.457f, 0.148f },
                              { -1.046f, -0.34f }, { -0.282f, -0.388f } };
static const Point cross[] = { { -0.3f, -0.95f }, { 0.3f, -0.95f }, { 0.3f, -0.3f }, { 0.95f, -0.3f },
                               { 0.95f, 0.3f }, { 0.3f, 0.3f }, { 0.3f, 0.95f }, { -0.3f, 0.95f },
                               { -0.3f, 0.3f }, { -0.95f, 0.3f }, { -0.95f, -0.3f }, { -0.3f, -0.3f } };
static const Point hexagon[] = { { 0.95f, 0 }, { 0.475f, 0.823f }, { -0.475f, 0.823f }, { -0.95f, 0 },
                                 { -0.475f, -0.823f }, { 0.475f, -0.823f } };
static const Point arrow[] = { { 1.05f, 0 }, { 0.15f, 0.85f }, { 0.15f, 0.3f }, { -1, 0.3f }, { -1, -0.3f },
                               { 0.15f, -0.3f }, { 0.15f, -0.85f } };

static float lengthf(float x, float y) { return sqrtf(x * x + y * y); }

static float clampf(float v, float low, float high) { return v < low ? low : v > high ? high : v; }

/* Distance of p to the polygon's border, negative inside. */
static float polygon(Point p, const Point *v, int n) {
  float nearest = 1e9f;
  int inside = 0;
  for (int i = 0, j = n - 1; i < n; j = i++) {
    float ex = v[j].x - v[i].x, ey = v[j].y - v[i].y, px = p.x - v[i].x, py = p.y - v[i].y;
    float along = clampf((px * ex + py * ey) / (ex * ex + ey * ey), 0, 1);
    float dx = px - along * ex, dy = py - along * ey;
    nearest = fminf(nearest, dx * dx + dy * dy);
    if ((v[i].y > p.y) != (v[j].y > p.y) && px < ex * py / ey) inside ^= 1;
  }
  return inside ? -sqrtf(nearest) : sqrtf(nearest);
}

/* A square standing on its corner and a disc on each of its upper sides. */
static float heart(Point p) {
  float u = (p.x - p.y) * 0.7071f + 0.22f, v = (-p.x - p.y) * 0.7071f + 0.22f; /* along the upper sides */
  float box = fmaxf(fabsf(u), fabsf(v)) - 0.56f;
  float discs = fminf(lengthf(u - 0.56f, v), lengthf(u, v - 0.56f)) - 0.56f;
  return fminf(box, discs);
}

/* Distance of p to the outline of a class, negative inside, in units of the shape's radius. */
static float outline(int class, Point p) {
#define POLYGON(v) polygon(p, v, (int)(sizeof v / sizeof *v))
  switch (class) {
    case 0: return lengthf(p.x, p.y) - 0.88f;
    case 1: return fabsf(lengthf(p.x, p.y) - 0.72f) - 0.22f;
    case 2: return POLYGON(square);
    case 3: return POLYGON(triangle);
    case 4: return POLYGON(star);
    case 5: return POLYGON(cross);
    case 6: return fmaxf(lengthf(p.x, p.y) - 0.95f, 0.75f - lengthf(p.x - 0.45f, p.y));
    case 7: return heart(p);
    case 8: return POLYGON(hexagon);
    default: return POLYGON(arrow);
  }
#undef POLYGON
}

/* ---- Colours and textures ---- */

typedef enum Kind { PLAIN, GRADIENT, STRIPES, DOTS, NOISE, KINDS } Kind;

typedef struct Texture {
  Kind kind;
  float a[3], b[3];       /* its two colours */
  float cosine, sine;     /* its direction */
  float frequency, phase; /* radians a pixel, radians */
  uint32_t seed;          /* of NOISE */
} Texture;

static float uniform(CnRng *rng, float low, float high) { return low + (high - low) * (float)cn_rng_uniform(rng); }

/* A value in [0, 1) for a lattice point. */
static float lattice(int x, int y, uint32_t seed) {
  uint32_t h = seed ^ ((uint32_t)x * 0x9E3779B1u) ^ ((uint32_t)y * 0x85EBCA77u);
  h = (h ^ (h >> 15)) * 0x2C1B3C6Du;
  h = (h ^ (h >> 12)) * 0x297A2D39u;
  return cn_u32_to_unit(h ^ (h >> 15));
}

/* Lattice values, blended between. */
static float smooth_noise(float x, float y, uint32_t seed) {
  int ix = (int)floorf(x), iy = (int)floorf(y);
  float fx = x - (float)ix, fy = y - (float)iy;
  fx *= fx * (3 - 2 * fx);
  fy *= fy * (3 - 2 * fy);
  float top = lattice(ix, iy, seed) * (1 - fx) + lattice(ix + 1, iy, seed) * fx;
  float bottom = lattice(ix, iy + 1, seed) * (1 - fx) + lattice(ix + 1, iy + 1, seed) * fx;
  return top * (1 - fy) + bottom * fy;
}

/* How much of colour b a texture has at a pixel. */
static float blend(const Texture *t, float x, float y) {
  float u = x * t->cosine + y * t->sine, v = y * t->cosine - x * t->sine;
  switch (t->kind) {
    case GRADIENT: return clampf(0.5f + u / SIDE, 0, 1);
    case STRIPES: return clampf(0.5f + 1.5f * sinf(u * t->frequency + t->phase), 0, 1);
    case DOTS: return clampf(2 * sinf(u * t->frequency + t->phase) * sinf(v * t->frequency), 0, 1);
    case NOISE: return clampf(2 * smooth_noise(u * t->frequency, v * t->frequency, t->seed) - 0.5f, 0, 1);
    default: return 0;
  }
}

/* What a texture may be drawn from. */
typedef struct Palette {
  float low, high; /* range of its first colour's channels */
  float spread;    /* how far its second colour's are at most */
  float apart;     /* how far its first colour is at least from a given one */
} Palette;

/* A ground is rather dark, a shape rather bright, a fragment anything. */
static const Palette of_ground = { 0.05f, 0.65f, 0.2f, 0 };
static const Palette of_shape = { 0.35f, 0.95f, 0.25f, 0.5f };
static const Palette of_fragment = { 0.05f, 0.95f, 0.3f, 0.3f };

static Texture draw_texture(CnRng *rng, const Palette *palette, const float other[3]) {
  Texture t;
  t.kind = (Kind)cn_rng_integer(rng, KINDS);
  float distance;
  int tries = 0;
  do {
    distance = 0;
    for (int c = 0; c < 3; c++) {
      t.a[c] = uniform(rng, palette->low, palette->high);
      distance += (t.a[c] - other[c]) * (t.a[c] - other[c]);
    }
  } while (distance < palette->apart * palette->apart && ++tries < 16);
  for (int c = 0; c < 3; c++) t.b[c] = clampf(t.a[c] + uniform(rng, -palette->spread, palette->spread), 0, 1);
  float angle = uniform(rng, 0, 2 * PI);
  t.cosine = cosf(angle);
  t.sine = sinf(angle);
  t.frequency = uniform(rng, 0.7f, 1.6f);
  t.phase = uniform(rng, 0, 2 * PI);
  t.seed = (uint32_t)cn_rng_u64(rng);
  return t;
}

/* ---- Painting ---- */

typedef float Canvas[SIDE][SIDE][3];

static void paint_pixel(float pixel[3], const Texture *t, float x, float y, float cover) {
  float b = blend(t, x, y);
  for (int c = 0; c < 3; c++) pixel[c] += cover * (t->a[c] + b * (t->b[c] - t->a[c]) - pixel[c]);
}

/* Where and how a shape lies. */
typedef struct Pose {
  float x, y;             /* of its middle, pixels from the picture's */
  float radius;           /* pixels */
  float cosine, sine;
  float aspect;           /* stretches its own x, shrinks its own y */
  float cut;              /* only what has own x > cut is painted; -2 for all of it */
} Pose;

static Pose draw_pose(CnRng *rng, float reach, float radius_low, float radius_high) {
  Pose p;
  p.x = uniform(rng, -reach, reach);
  p.y = uniform(rng, -reach, reach);
  p.radius = uniform(rng, radius_low, radius_high);
  float angle = uniform(rng, 0, 2 * PI);
  p.cosine = cosf(angle);
  p.sine = sinf(angle);
  p.aspect = uniform(rng, 0.85f, 1.18f);
  p.cut = -2;
  return p;
}

static void paint_shape(Canvas canvas, int class, const Pose *p, const Texture *t) {
  float half = 0.5f * (SIDE - 1), reach = 1.4f * p->radius + 1;
  int x0 = (int)clampf(floorf(half + p->x - reach), 0, SIDE), x1 = (int)clampf(ceilf(half + p->x + reach), 0, SIDE);
  int y0 = (int)clampf(floorf(half + p->y - reach), 0, SIDE), y1 = (int)clampf(ceilf(half + p->y + reach), 0, SIDE);
  for (int y = y0; y < y1; y++)
    for (int x = x0; x < x1; x++) {
      float dx = ((float)x - half - p->x) / p->radius, dy = ((float)y - half - p->y) / p->radius;
      Point own = { (dx * p->cosine + dy * p->sine) / p->aspect, (dy * p->cosine - dx * p->sine) * p->aspect };
      float distance = fmaxf(outline(class, own), p->cut - own.x) * p->radius;
      float cover = clampf(0.5f - distance, 0, 1);
      if (cover > 0) paint_pixel(canvas[y][x], t, (float)x - half, (float)y - half, cover);
    }
}

static void paint_fragment(Canvas canvas, CnRng *rng, const float other[3], float radius_low, float radius_high) {
  Pose pose = draw_pose(rng, 15, radius_low, radius_high);
  pose.cut = uniform(rng, -0.3f, 0.4f);
  int class = (int)cn_rng_integer(rng, CN_SHAPES_CLASSES);
  Texture texture = draw_texture(rng, &of_fragment, other);
  paint_shape(canvas, class, &pose, &texture);
}

/* Adds noise, nearly normal (a sum of four bytes), and rounds. */
static void finish(uint8_t *out, Canvas canvas, const CnRng *rng, float noise) {
  for (int i = 0; i < SIDE * SIDE; i++) {
    uint32_t u[4];
    cn_philox(u, rng->seed, rng->stream, rng->counter + (uint64_t)i);
    const float *pixel = canvas[i / SIDE][i % SIDE];
    for (int c = 0; c < 3; c++) {
      int sum = (int)(u[c] & 255) + (int)(u[c] >> 8 & 255) + (int)(u[c] >> 16 & 255) + (int)(u[c] >> 24);
      float v = pixel[c] + noise * ((float)sum - 510) / 147.8f;
      out[3 * i + c] = (uint8_t)(255 * clampf(v, 0, 1) + 0.5f);
    }
  }
}

static void draw_image(uint8_t *out, int class, CnRng rng) {
  static const float black[3] = { 0, 0, 0 };
  Canvas canvas;
  memset(canvas, 0, sizeof canvas);
  Texture ground = draw_texture(&rng, &of_ground, black);
  for (int y = 0; y < SIDE; y++)
    for (int x = 0; x < SIDE; x++)
      paint_pixel(canvas[y][x], &ground, (float)x - 0.5f * SIDE, (float)y - 0.5f * SIDE, 1);
  int fragments = 3 + (int)cn_rng_integer(&rng, 4);
  for (int f = 0; f < fragments; f++) paint_fragment(canvas, &rng, ground.a, 2, 4.5f);
  Pose pose = draw_pose(&rng, 5, 8, 11);
  Texture texture = draw_texture(&rng, &of_shape, ground.a);
  paint_shape(canvas, class, &pose, &texture);
  if (cn_rng_integer(&rng, 2)) paint_fragment(canvas, &rng, texture.a, 1.5f, 3.5f);
  float noise = uniform(&rng, 0.01f, 0.05f);
  finish(out, canvas, &rng, noise);
}

CnErr cn_shapes_draw(CnDataset **out, uint64_t seed, const char *set, int64_t count) {
  if (count < 1 || count > 10000000)
    return cn_fail(CN_EUSAGE, "shapes: the number of images must be from 1 to 10000000, got %lld", (long long)count);
  CnImages *m;
  CN_TRY(cn_images_new(&m, "shapes", count, SIDE, SIDE, 3, CN_SHAPES_CLASSES));
  m->class_names = class_names;
  memcpy(m->mean, mean, sizeof mean);
  memcpy(m->std, deviation, sizeof deviation);
  char name[64];
  snprintf(name, sizeof name, "shapes:%s", set);
  CnRng stream = cn_rng_named(seed, name);
  int64_t pieces = (count + 63) / 64;
  CN_PARALLEL_FOR
  for (int64_t piece = 0; piece < pieces; piece++)
    for (int64_t i = piece * 64; i < count && i < (piece + 1) * 64; i++) {
      CnRng rng = stream;
      rng.counter = (uint64_t)i * BLOCKS;
      m->labels[i] = i % CN_SHAPES_CLASSES;
      draw_image(m->pixels + i * cn_images_bytes(m), (int)m->labels[i], rng);
    }
  return cn_dataset_new(out, m);
}
