/* draw.c - see draw.h. The cell becomes a text in graphviz's language, which graphviz parses, lays out and renders: one
** path for files and for whoever wants the text. Inputs stand left, the output right, each edge wears its operation. */
#include "io/draw.h"

#include <graphviz/gvc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "io/file.h"

/* An operation's colour is its family's: the first row whose text its name contains. */
static const struct {
  const char *part, *color, *style;
} families[] = {
  { "none", "#87909d", "dashed" },  { "skip", "#6b7280", "solid" }, { "sep_conv", "#2563a8", "solid" },
  { "dil_conv", "#0f8a6d", "solid" }, { "conv", "#7048b6", "solid" }, { "pool", "#c2620a", "solid" },
  { "", "#a3355f", "solid" }, /* operations of the user's own */
};

/* ---- the text ---- */

typedef struct Text {
  char *data;
  size_t size, room;
} Text;

static void add(Text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What does not fit is left out; cn_draw_dot makes the room for everything. */
static void add(Text *t, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int n = vsnprintf(t->data + t->size, t->room - t->size, format, args);
  va_end(args);
  if (n > 0) t->size += (size_t)n < t->room - t->size ? (size_t)n : t->room - t->size - 1;
}

/* In double quotes, as graphviz reads them: a backslash would begin an escape of its own. */
static void add_quoted(Text *t, const char *text) {
  add(t, "\"");
  for (const char *c = text; *c; c++) add(t, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
  add(t, "\"");
}

/* In graphviz's HTML, which has the space around it that keeps a label off its line. */
static void add_padded(Text *t, const char *text) {
  add(t, "<<table border=\"0\" cellspacing=\"0\" cellpadding=\"4\"><tr><td>");
  for (const char *c = text; *c; c++) {
    if (strchr("<>&\"", *c)) add(t, "&#%d;", *c);
    else add(t, "%c", *c);
  }
  add(t, "</td></tr></table>>");
}

static void add_node(Text *t, const char *id, const char *label, const char *fill, const char *line) {
  add(t, "  %s [label=<%s>, fillcolor=\"%s\", color=\"%s\"];\n", id, label, fill, line);
}

static void add_edge(Text *t, const CnTriple *triple) {
  size_t f = 0;
  while (!strstr(triple->op, families[f].part)) f++;
  add(t, "  n%d -> n%d [color=\"%s\", fontcolor=\"%s\", style=%s, label=", triple->from, triple->to, families[f].color,
      families[f].color, families[f].style);
  add_padded(t, triple->op);
  add(t, "];\n");
}

/* dpi: 0 for graphviz's own, which SVG needs: with any other it cuts the picture off. */
static void add_cell(Text *t, const CnCellArch *cell, const CnDrawing *drawing, int dpi) {
  const char *title = drawing ? drawing->title : NULL;
  bool down = drawing && drawing->down;
  add(t, "digraph cell {\n"
         "  graph [rankdir=%s, bgcolor=\"white\", fontname=\"DejaVu Sans\", fontsize=18, labelloc=t,\n"
         "         fontcolor=\"#1f2937\", nodesep=%s, ranksep=%s, pad=%s",
      down ? "TB" : "LR", down ? "0.2" : "0.45", down ? "0.45" : "0.7", down ? "0.1" : "0.3");
  if (dpi) add(t, ", dpi=%d", dpi);
  if (title && *title) {
    add(t, ", label=");
    add_quoted(t, title);
  }
  add(t, "];\n"
         "  node [shape=box, style=\"rounded,filled\", fontname=\"DejaVu Sans\", fontsize=15, fontcolor=\"#1f2937\",\n"
         "        height=0.5, width=0.6, penwidth=1.4, margin=\"0.15,0.08\"];\n"
         "  edge [fontname=\"DejaVu Sans\", fontsize=12, penwidth=1.6, arrowsize=0.8];\n");
  int nodes = cell->count / 2;
  add_node(t, "n0", "c<sub>k-2</sub>", "#d9ead3", "#5b8c4a");
  add_node(t, "n1", "c<sub>k-1</sub>", "#d9ead3", "#5b8c4a");
  for (int i = 0; i < nodes; i++) {
    char id[16], label[16];
    snprintf(id, sizeof id, "n%d", i + 2);
    snprintf(label, sizeof label, "%d", i);
    add_node(t, id, label, "#dbe7f6", "#5779a8");
  }
  add_node(t, "out", "c<sub>k</sub>", "#fbe7b6", "#b98a1d");
  add(t, "  { rank=source; n0; n1; }\n  { rank=sink; out; }\n");
  for (int i = 0; i < cell->count; i++) add_edge(t, &cell->triple[i]);
  for (int i = 0; i < cell->concat_count; i++)
    add(t, "  n%d -> out [color=\"#b98a1d\", penwidth=1.2];\n", cell->concat[i]);
  add(t, "}\n");
}

static CnErr cell_text(char **out, const CnCellArch *cell, const CnDrawing *drawing, int dpi) {
  if (cell->count < 0 || cell->count > 2 * CN_MAX_NODES || cell->concat_count < 0 || cell->concat_count > CN_MAX_NODES)
    return cn_fail(CN_EUSAGE, "draw: a cell of %d triples and %d outputs, expected at most %d and %d", cell->count,
                   cell->concat_count, 2 * CN_MAX_NODES, CN_MAX_NODES);
  for (int i = 0; i < cell->count; i++)
    if (cell->triple[i].from < 0 || cell->triple[i].to < 2 || cell->triple[i].to > cell->count / 2 + 1 ||
        cell->triple[i].from >= cell->triple[i].to)
      return cn_fail(CN_EUSAGE, "draw: triple %d (%.31s, %d, %d): nodes must be 0 to %d, from less than to", i + 1,
                     cell->triple[i].op, cell->triple[i].from, cell->triple[i].to, cell->count / 2 + 1);
  size_t room = 16384 + (drawing && drawing->title ? 2 * strlen(drawing->title) : 0);
  Text t = { cn_alloc(room), 0, room };
  if (!t.data) return CN_EMEMORY;
  add_cell(&t, cell, drawing, dpi);
  *out = t.data;
  return CN_OK;
}

CnErr cn_draw_dot(char **out, const CnCellArch *cell, const CnDrawing *drawing) {
  return cell_text(out, cell, drawing, 0);
}

/* ---- graphviz ---- */

static pthread_mutex_t graphviz_lock = PTHREAD_MUTEX_INITIALIZER;
static char graphviz_message[256]; /* its first complaint during the present call */

/* Graphviz reports in pieces; they are gathered here and never printed. */
static int gather_message(char *piece) {
  size_t n = strlen(graphviz_message);
  snprintf(graphviz_message + n, sizeof graphviz_message - n, "%s", piece);
  return 0;
}

static CnErr graphviz_fail(const char *action) {
  graphviz_message[strcspn(graphviz_message, "\r\n")] = 0;
  if (!*graphviz_message) return cn_fail(CN_EIO, "draw: graphviz cannot %s and gives no reason", action);
  return cn_fail(CN_EIO, "draw: graphviz cannot %s: %s", action, graphviz_message);
}

/* Where a picture goes; any of them may be NULL. */
typedef struct Pictures {
  const char *svg_path, *png_path;
  char **svg; /* a new text (cn_free) */
} Pictures;

/* The picture in one of graphviz's formats; the data is graphviz's. */
static CnErr render(GVC_t *context, graph_t *graph, const char *format, char **data, unsigned *size) {
  *data = NULL;
  *size = 0;
  if (gvRenderData(context, graph, format, data, size) == 0 && *data && *size > 0) return CN_OK;
  if (*data) gvFreeRenderData(*data);
  return graphviz_fail(strcmp(format, "svg") ? "render PNG" : "render SVG");
}

static CnErr render_file(GVC_t *context, graph_t *graph, const char *format, const char *path) {
  if (!path) return CN_OK;
  char *data;
  unsigned size;
  CN_TRY(render(context, graph, format, &data, &size));
  CnErr e = cn_file_write(path, data, size);
  gvFreeRenderData(data);
  return e;
}

static CnErr render_text(GVC_t *context, graph_t *graph, char **out) {
  if (!out) return CN_OK;
  char *data;
  unsigned size;
  CN_TRY(render(context, graph, "svg", &data, &size));
  *out = cn_alloc((size_t)size + 1);
  if (*out) {
    memcpy(*out, data, size);
    (*out)[size] = 0;
  }
  gvFreeRenderData(data);
  return *out ? CN_OK : CN_EMEMORY;
}

/* `strict`: a complaint about the graph is an error. */
static CnErr layout_and_render(GVC_t *context, graph_t *graph, const Pictures *to, bool strict) {
  if (gvLayout(context, graph, "dot") != 0) return graphviz_fail("lay the cell out");
  CnErr e = strict && *graphviz_message ? graphviz_fail("use it") : CN_OK;
  if (e == CN_OK) e = render_file(context, graph, "svg", to->svg_path);
  if (e == CN_OK) e = render_file(context, graph, "png:cairo", to->png_path);
  if (e == CN_OK) e = render_text(context, graph, to->svg);
  gvFreeLayout(context, graph);
  return e;
}

/* One context serves the whole process: graphviz's text plugin remembers the last font's name, which is freed with the
** context it came from. */
static CnErr draw_text(const char *text, const Pictures *to, bool strict) {
  static GVC_t *context;
  if (!context) context = gvContext();
  if (!context) return graphviz_fail("start");
  graph_t *graph = agmemread(text);
  CnErr e = graph ? layout_and_render(context, graph, to, strict) : graphviz_fail("read the cell");
  if (graph) agclose(graph);
  return e;
}

static CnErr draw(const char *text, const Pictures *to, bool strict) {
  pthread_mutex_lock(&graphviz_lock);
  graphviz_message[0] = 0;
  agusererrf before = agseterrf(gather_message);
  CnErr e = draw_text(text, to, strict);
  agseterrf(before);
  pthread_mutex_unlock(&graphviz_lock);
  return e;
}

static CnErr draw_cell(const CnCellArch *cell, const CnDrawing *drawing, const Pictures *to, int dpi) {
  char *text;
  CN_TRY(cell_text(&text, cell, drawing, dpi));
  CnErr e = draw(text, to, false);
  cn_free(text);
  return e;
}

CnErr cn_draw_cell(const CnCellArch *cell, const CnDrawing *drawing, const char *svg_path, const char *png_path) {
  if (svg_path) CN_TRY(draw_cell(cell, drawing, &(Pictures){ .svg_path = svg_path }, 0));
  return png_path ? draw_cell(cell, drawing, &(Pictures){ .png_path = png_path }, 110) : CN_OK;
}

CnErr cn_draw_svg(char **out, const CnCellArch *cell, const CnDrawing *drawing) {
  return draw_cell(cell, drawing, &(Pictures){ .svg = out }, 0);
}

/* ---- other pictures ---- */

#define UNITS 96.0 /* of SVG to an inch */
#define MOST_PIXELS 30000 /* of a side: cairo's pictures have at most 32767 */

/* A graph of one node without a shape, which is as large as the picture that it wears. */
CnErr cn_draw_raster(const char *png_path, const char *svg_path, double width, double height, double scale) {
  if (!(width > 0 && height > 0 && scale > 0) || width * scale > MOST_PIXELS || height * scale > MOST_PIXELS)
    return cn_fail(CN_EUSAGE, "draw: a picture of %g x %g units at %g pixels to a unit: expected 1 to %d pixels a side",
                   width, height, scale, MOST_PIXELS);
  size_t room = 1024 + 2 * strlen(svg_path);
  Text t = { cn_alloc(room), 0, room };
  if (!t.data) return CN_EMEMORY;
  add(&t, "digraph { graph [dpi=%.9g, pad=0, margin=0, bgcolor=white]\n"
          "  n [shape=none, label=\"\", margin=0, fixedsize=true, imagescale=both, width=%.9g, height=%.9g, image=",
      UNITS * scale, width / UNITS, height / UNITS);
  add_quoted(&t, svg_path);
  add(&t, "]; }\n");
  CnErr e = draw(t.data, &(Pictures){ .png_path = png_path }, true);
  cn_free(t.data);
  if (e == CN_EIO && *graphviz_message)
    return cn_fail(CN_EIO, "draw: graphviz cannot read %s; it needs its plugin for librsvg (Debian: "
                   "libgvc6-plugins-gtk): %s", svg_path, graphviz_message);
  return e;
}
