/* download.h - Lua functions that hear of a download's progress. */
#ifndef CNL_DOWNLOAD_H
#define CNL_DOWNLOAD_H

#include "bindings/binding.h"
#include "data/download.h"

typedef struct CnlListener {
  lua_State *L;
  int function; /* stack index; an error in it ends the download and is raised afterwards */
  bool failed;  /* then the error is on top of the stack */
} CnlListener;

/* What calls the function at that stack index, with `listener` as its data; NULL when there is nil. */
CnProgress cnL_progress(lua_State *L, int function, CnlListener *listener);
/* Raises the listener's error, or `e`; else returns n. */
int cnL_downloaded(lua_State *L, const CnlListener *listener, CnErr e, int n);

#endif
