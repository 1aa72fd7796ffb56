/* folder.h - what file.c and folder.c share. */
#ifndef CN_FOLDER_H
#define CN_FOLDER_H

#include "io/file.h"

#define CN_TEMPORARY_END ".tmp" /* the end of a writer's temporary name, which begins with a dot */

int cn_open(const char *path, int flags);                 /* through cn_system, again after a signal */
char *cn_path_join(const char *folder, const char *name); /* "folder/name" (cn_free), or NULL */
/* Forces the entries of the folder that `path` is in, and so a new or renamed one, to the disk; -1 with errno. */
int cn_sync_folder_of(const char *path);

#endif
