/* draw.h - a cell as a picture, laid out by graphviz's library within this process. */
#ifndef CN_DRAW_H
#define CN_DRAW_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "nas/genotype.h"

/* How a cell is drawn; NULL in its place: with neither. */
typedef struct CnDrawing {
  const char *title; /* above the picture, or NULL */
  bool down;         /* from the inputs above to the output below, for narrow places; else from left to right */
} CnDrawing;

/* Writes SVG and PNG files, either path may be NULL. Calls wait for each other: graphviz keeps global state. */
CnErr cn_draw_cell(const CnCellArch *cell, const CnDrawing *drawing, const char *svg_path, const char *png_path);

/* The SVG file's text, new (cn_free). */
CnErr cn_draw_svg(char **out, const CnCellArch *cell, const CnDrawing *drawing);

/* The same as graphviz's text, a new string (cn_free). */
CnErr cn_draw_dot(char **out, const CnCellArch *cell, const CnDrawing *drawing);

/* Any SVG file of `width` x `height` user units as a PNG file of `scale` pixels to a unit, on white. The SVG file begins
** with an XML declaration. Graphviz does it with its plugin for librsvg; an error (CN_EIO) when that is not there. */
CnErr cn_draw_raster(const char *png_path, const char *svg_path, double width, double height, double scale);

#endif
