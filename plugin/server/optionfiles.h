// SPDX-License-Identifier: GPL-2.0-only
/* Whether option files that are read once more can all be read as before. Pure POSIX. */
#ifndef AKM_OPTIONFILES_H
#define AKM_OPTIONFILES_H

#include <stdbool.h>
#include <stddef.h>

/*
  arguments: as my_load_defaults() makes them, with a mark and a path for each file that was read; directories: where it looked for
  my.cnf, up to a NULL. Returns false if this process may not read one that those include, or a my.cnf: the server passes over
  it in silence.
*/
bool optionfiles_are_readable(size_t count, const char *const *arguments, const char *const *directories);

#endif
