/* near.c - which known name a misspelt one was meant to be. */
#include <string.h>

#include "lua/host/host.h"

/* Edits (insert, drop, change, swap neighbours) between two names; more than 2 do not matter. */
static int distance(const char *a, const char *b) {
  int n = (int)strlen(a), m = (int)strlen(b);
  int row[3][NEAR_LONGEST + 1];
  if (n > NEAR_LONGEST || m > NEAR_LONGEST || n - m > 2 || m - n > 2) return 3;
  for (int j = 0; j <= m; j++) row[0][j] = j;
  for (int i = 1; i <= n; i++) {
    int *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];
    now[0] = i;
    for (int j = 1; j <= m; j++) {
      int best = last[j - 1] + (a[i - 1] != b[j - 1]);
      if (last[j] + 1 < best) best = last[j] + 1;
      if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
        best = before[j - 2] + 1;
      now[j] = best;
    }
  }
  return row[n % 3][m];
}

Nearest host_nearest(const char *wanted) {
  Nearest nearest = { wanted, 3, "" };
  if (strlen(wanted) <= 3) nearest.edits = 2; /* two edits make any short name of any other */
  return nearest;
}

void host_consider(Nearest *nearest, const char *name) {
  if (name == NULL || name[0] == '(' || strlen(name) > NEAR_LONGEST) return;
  int edits = distance(nearest->wanted, name);
  if (edits == 0 || edits >= nearest->edits) return;
  nearest->edits = edits;
  strcpy(nearest->name, name);
}
