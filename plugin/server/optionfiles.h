// SPDX-License-Identifier: GPL-2.0-only
/* Option files that are read a second time. Pure POSIX. */
#ifndef AKM_OPTIONFILES_H
#define AKM_OPTIONFILES_H

#include <stdbool.h>
#include <stddef.h>

/*
  Returns false if this process may not read an option file that it should have read, which the server passes over in
  silence: one that another includes, or a my.cnf. arguments: as my_load_defaults() makes them, with a mark and a path for
  each file that it read. directories: where it searched for my.cnf, ended by NULL; NULL: nowhere.
*/
bool optionfiles_are_readable(size_t count, const char *const *arguments, const char *const *directories);

#endif
