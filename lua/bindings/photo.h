/* photo.h - what data.c and image.c share: how a table says what a photograph goes through. */
#ifndef CNL_PHOTO_H
#define CNL_PHOTO_H

#include "bindings/binding.h"
#include "data/photo.h"

/* The table at `arg`, { size =, resize =, scale = { from, to }, ratio = { from, to }, flip =, jitter = { brightness,
** contrast, saturation, hue }, cutout =, exact = }: what it does not say is as in the published training, or, when it
** says resize, as in evaluation: that takes the middle. Ranges are checked by those who use it. */
CnPhotoSettings cnL_checkphoto(lua_State *L, int arg, const char *who);

#endif
