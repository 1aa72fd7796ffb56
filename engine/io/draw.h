/* draw.h - a cell as a picture, laid out by graphviz's library within this process. */
#ifndef CN_DRAW_H
#define CN_DRAW_H

#include <stddef.h>

#include "base/error.h"
#include "nas/genotype.h"

/* Writes SVG and PNG files, either path may be NULL; `title` above the picture, or NULL. Calls wait for each other:
** graphviz keeps global state. */
CnErr cn_draw_cell(const CnCellArch *cell, const char *title, const char *svg_path, const char *png_path);

/* The same as graphviz's text, a new string (cn_free). */
CnErr cn_draw_dot(char **out, const CnCellArch *cell, const char *title);

#endif
