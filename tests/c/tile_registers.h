/* tile_registers.h - the tile registers of AMX in plain C, so that kernels/cpu/gemm_tiles.c runs on processors without
** them: the same names as the instructions', which it replaces. What the processor would refuse ends the test.
**
** After Intel, "Architecture Instruction Set Extensions", chapter on AMX. */
#ifndef TILE_REGISTERS_H
#define TILE_REGISTERS_H

#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
  int configured;
  struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
  } shape;
  uint32_t word[8][16][16]; /* register, row, word */
} tiles;

static long tile_products; /* so far */

static void tile_check(int right, const char *text) {
  if (right) return;
  fprintf(stderr, "tile registers: %s\n", text);
  abort();
}

static void tile_check_used(int t) {
  tile_check(tiles.configured, "used without a configuration");
  tile_check(tiles.shape.rows[t] > 0 && tiles.shape.bytes[t] > 0, "a register without rows or columns is used");
}

static void tile_load_configuration(const void *from) {
  static const uint8_t zeros[14];
  memcpy(&tiles.shape, from, sizeof tiles.shape);
  tile_check(sizeof tiles.shape == 64, "a configuration has 64 bytes");
  tile_check(tiles.shape.palette == 1 && tiles.shape.start_row == 0, "palette 1 from row 0 is expected");
  tile_check(!memcmp(tiles.shape.reserved, zeros, sizeof zeros), "reserved bytes are not 0");
  for (int t = 0; t < 16; t++) {
    tile_check(t < 8 || (tiles.shape.rows[t] == 0 && tiles.shape.bytes[t] == 0), "there are 8 registers");
    tile_check(tiles.shape.rows[t] <= 16 && tiles.shape.bytes[t] <= 64, "a register has at most 16 rows of 64 bytes");
    tile_check(!tiles.shape.rows[t] == !tiles.shape.bytes[t], "rows without columns, or columns without rows");
  }
  memset(tiles.word, 0, sizeof tiles.word);
  tiles.configured = 1;
}

static void tile_load(int t, const void *from, int64_t step) {
  tile_check_used(t);
  memset(tiles.word[t], 0, sizeof tiles.word[t]);
  for (int i = 0; i < tiles.shape.rows[t]; i++)
    memcpy(tiles.word[t][i], (const char *)from + i * step, tiles.shape.bytes[t]);
}

static void tile_store(int t, void *to, int64_t step) {
  tile_check_used(t);
  for (int i = 0; i < tiles.shape.rows[t]; i++)
    memcpy((char *)to + i * step, tiles.word[t][i], tiles.shape.bytes[t]);
}

static float tile_half(uint32_t pair, int upper) {
  uint32_t bits = upper ? pair & 0xffff0000u : pair << 16;
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static void tile_multiply(int sum, int left, int right) {
  tile_check_used(sum);
  tile_check_used(left);
  tile_check_used(right);
  int rows = tiles.shape.rows[sum], pairs = tiles.shape.bytes[left] / 4, columns = tiles.shape.bytes[sum] / 4;
  tile_check(tiles.shape.rows[left] == rows && tiles.shape.rows[right] == pairs &&
               tiles.shape.bytes[right] == tiles.shape.bytes[sum], "shapes of a product do not go together");
  for (int i = 0; i < rows; i++)
    for (int p = 0; p < pairs; p++)
      for (int j = 0; j < columns; j++) {
        float s;
        memcpy(&s, &tiles.word[sum][i][j], sizeof s);
        for (int half = 0; half < 2; half++)
          s += tile_half(tiles.word[left][i][p], half) * tile_half(tiles.word[right][p][j], half);
        memcpy(&tiles.word[sum][i][j], &s, sizeof s);
      }
  tile_products++;
}

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#define _tile_loadconfig(from) tile_load_configuration(from)
#define _tile_release() (tiles.configured = 0)
#define _tile_zero(t) (tile_check_used(t), (void)memset(tiles.word[t], 0, sizeof tiles.word[t]))
#define _tile_loadd(t, from, step) tile_load(t, from, step)
#define _tile_stored(t, to, step) tile_store(t, to, step)
#define _tile_dpbf16ps(sum, left, right) tile_multiply(sum, left, right)

#endif
