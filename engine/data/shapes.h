/* shapes.h - the built-in dataset: ten classes of coloured, textured shapes on clutter, 32x32x3, drawn from a seed.
**
** The class is the outline alone: colour, texture, place, size, rotation and background are drawn from the same
** distributions for every class, and small fragments of all shapes lie about. Image i is a function of (seed, set, i)
** and nothing else. Classes take turns, so every set of 10·k images is balanced. */
#ifndef CN_SHAPES_H
#define CN_SHAPES_H

#include "data/dataset.h"

#define CN_SHAPES_CLASSES 10

/* `set` names the stream, "train" or "test": different sets share no image. */
CnErr cn_shapes_draw(CnDataset **out, uint64_t seed, const char *set, int64_t count);

#endif
