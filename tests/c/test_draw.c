/* test_draw.c - drawings of cells: files of the right kind, texts kept as they are, several at once, silence. */
#include "scratch.h"

#include <pthread.h>
#include <unistd.h>

#include "io/draw.h"
#include "io/png.h"

static const CnCellArch cell = {
  .count = 4,
  .triple = { { "sep_conv_3x3", 0, 2 }, { "none", 1, 2 }, { "my \"op\" \\N <b>", 0, 3 }, { "skip_connect", 2, 3 } },
  .concat_count = 2,
  .concat = { 2, 3 },
};

static void test_files(void **state) {
  (void)state;
  CnTensor *picture;
  char *svg;
  size_t size;
  assert_ok(cn_draw_cell(&cell, &(CnDrawing){ .title = "a \"title\" & more \\N é" }, scratch_path("c.svg"), scratch_path("c.png")));
  assert_ok(cn_png_load(&picture, scratch_path("c.png")));
  assert_true(picture->shape[0] > 100 && picture->shape[1] > 300);
  cn_tensor_unref(picture);
  assert_ok(cn_file_read(&svg, &size, scratch_path("c.svg"), 1 << 20));
  assert_non_null(strstr(svg, "</svg>"));
  assert_non_null(strstr(svg, "sep_conv_3x3"));
  assert_non_null(strstr(svg, "a &quot;title&quot; &amp; more \\N é"));
  assert_non_null(strstr(svg, "my &quot;op&quot; \\N &lt;b&gt;"));
  cn_free(svg);
  assert_ok(cn_draw_cell(&cell, NULL, NULL, scratch_path("only.png")));
  assert_names("c.png c.svg only.png ");
}

static void test_same_bytes(void **state) {
  (void)state;
  char *first;
  size_t size;
  assert_ok(cn_draw_cell(&cell, &(CnDrawing){ .title = "t" }, scratch_path("1.svg"), NULL));
  assert_ok(cn_draw_cell(&cell, &(CnDrawing){ .title = "t" }, scratch_path("2.svg"), NULL));
  assert_ok(cn_file_read(&first, &size, scratch_path("1.svg"), 1 << 20));
  assert_contents(scratch_path("2.svg"), first, size);
  cn_free(first);
}

static void test_largest(void **state) {
  (void)state;
  CnCellArch large = { .count = 2 * CN_MAX_NODES, .concat_count = CN_MAX_NODES };
  for (int i = 0; i < large.count; i++) {
    large.triple[i] = (CnTriple){ .from = i % 2, .to = i / 2 + 2 };
    memset(large.triple[i].op, '"', CN_OP_NAME - 1);
    large.concat[i / 2] = i / 2 + 2;
  }
  char *text;
  assert_ok(cn_draw_dot(&text, &large, &(CnDrawing){ .title = "t" }));
  assert_string_equal(text + strlen(text) - 2, "}\n");
  cn_free(text);
  assert_ok(cn_draw_cell(&large, NULL, scratch_path("large.svg"), NULL));
  large.triple[1].from = 3;
  large.triple[1].to = 2;
  assert_fails(CN_EUSAGE, "triple 2 (", cn_draw_dot(&text, &large, NULL));
}

static void test_text(void **state) {
  (void)state;
  char *across, *down, *file;
  size_t size;
  assert_ok(cn_draw_svg(&across, &cell, NULL));
  assert_ok(cn_draw_cell(&cell, NULL, scratch_path("c.svg"), NULL));
  assert_ok(cn_file_read(&file, &size, scratch_path("c.svg"), 1 << 20));
  assert_string_equal(across, file);
  cn_free(file);
  assert_ok(cn_draw_svg(&down, &cell, &(CnDrawing){ .down = true }));
  double width[2], height[2];
  assert_int_equal(sscanf(strstr(across, "<svg "), "<svg width=\"%lfpt\" height=\"%lfpt\"", &width[0], &height[0]), 2);
  assert_int_equal(sscanf(strstr(down, "<svg "), "<svg width=\"%lfpt\" height=\"%lfpt\"", &width[1], &height[1]), 2);
  assert_true(width[0] > height[0] && width[1] < width[0] && height[1] > height[0]);
  double box[2]; /* as large as the picture, or it is cut off */
  assert_int_equal(sscanf(strstr(across, "viewBox="), "viewBox=\"0.00 0.00 %lf %lf\"", &box[0], &box[1]), 2);
  assert_float_equal(box[0], width[0], 1);
  assert_float_equal(box[1], height[0], 1);
  assert_non_null(strstr(across, "transform=\"scale(1 1)"));
  cn_free(across);
  cn_free(down);
}

/* A picture of 40 x 20 units, its left half red, is one of 80 x 40 pixels; one that is not there is an error. */
static void test_raster(void **state) {
  (void)state;
  static const char svg[] = "<?xml version=\"1.0\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"40\" "
                            "height=\"20\" viewBox=\"0 0 40 20\"><rect width=\"20\" height=\"20\" fill=\"#f00\"/></svg>";
  assert_ok(cn_file_write(scratch_path("a.svg"), svg, sizeof svg - 1));
  assert_ok(cn_draw_raster(scratch_path("a.png"), scratch_path("a.svg"), 40, 20, 2));
  CnTensor *picture;
  assert_ok(cn_png_load(&picture, scratch_path("a.png")));
  assert_int_equal(picture->shape[0], 40);
  assert_int_equal(picture->shape[1], 80);
  const uint8_t *pixel = cn_tensor_data(picture);
  assert_memory_equal(pixel + (20 * 80 + 10) * 3, "\xff\0\0", 3);
  assert_memory_equal(pixel + (20 * 80 + 70) * 3, "\xff\xff\xff", 3);
  cn_tensor_unref(picture);
  assert_fails(CN_EIO, "none.svg", cn_draw_raster(scratch_path("b.png"), scratch_path("none.svg"), 40, 20, 1));
  assert_fails(CN_EUSAGE, "expected 1 to 30000 pixels a side",
               cn_draw_raster(scratch_path("b.png"), scratch_path("a.svg"), 40, 1e9, 1));
  assert_names("a.png a.svg ");
}

static void *draw_often(void *name) {
  for (int i = 0; i < 5; i++)
    if (cn_draw_cell(&cell, &(CnDrawing){ .title = name }, NULL, name) != CN_OK) return name;
  return NULL;
}

static void test_threads(void **state) {
  (void)state;
  pthread_t thread;
  void *failed;
  char mine[256], other[256];
  snprintf(mine, sizeof mine, "%s", scratch_path("mine.png"));
  snprintf(other, sizeof other, "%s", scratch_path("other.png"));
  assert_int_equal(pthread_create(&thread, NULL, draw_often, other), 0);
  assert_null(draw_often(mine));
  pthread_join(thread, &failed);
  assert_null(failed);
}

static void test_failures(void **state) {
  (void)state;
  assert_fails(CN_EIO, "No such file or directory", cn_draw_cell(&cell, NULL, scratch_path("no/c.svg"), NULL));
  assert_names("");
}

/* Nothing of graphviz reaches the terminal, not even for a title that is no text. */
static void test_silence(void **state) {
  (void)state;
  fflush(stderr);
  int terminal = dup(2);
  assert_non_null(freopen(scratch_path("stderr"), "w", stderr));
  cn_draw_cell(&cell, &(CnDrawing){ .title = "\xff\xfe &nosuch;" }, NULL, scratch_path("c.png"));
  fflush(stderr);
  dup2(terminal, 2);
  close(terminal);
  assert_contents(scratch_path("stderr"), "", 0);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)
  const struct CMUnitTest tests[] = {
    TEST(test_files),   TEST(test_same_bytes), TEST(test_largest),
    TEST(test_text),    TEST(test_raster),     TEST(test_threads),
    TEST(test_failures), TEST(test_silence),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
