// SPDX-License-Identifier: GPL-2.0-only
/*
  The places where the server keeps files that it can encrypt, from the options it was started with. InnoDB reads its own
  options only after the encryption plugin has started, and exports few of them. Pure POSIX.
*/
#ifndef AKM_LOCATIONS_H
#define AKM_LOCATIONS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#define LOCATIONS_FILES_MAX 4096u       /* bytes of innodb_data_file_path */

enum location
{
  LOCATION_DATA,                        /* the data directory; the others are relative to it */
  LOCATION_SYSTEM,                      /* innodb_data_home_dir; "": innodb_data_file_path has whole paths */
  LOCATION_LOG,                         /* innodb_log_group_home_dir */
  LOCATION_UNDO,                        /* innodb_undo_directory */
  LOCATION_BINLOG,                      /* log_bin: the directory and the beginning of the names, maybe without either */
  LOCATION_BINLOG_INDEX,                /* log_bin_index: a file */
  LOCATION_RELAY,                       /* relay_log */
  LOCATION_RELAY_INDEX,                 /* relay_log_index */
  LOCATION_COUNT
};

struct locations
{
  const char *unknown;                  /* why the places are not known; NULL: they are known */
  char paths[LOCATION_COUNT][PATH_MAX];
  char system_files[LOCATIONS_FILES_MAX];       /* innodb_data_file_path */
};

/*
  Reads the server's arguments, those of its option files first: of an option that is given twice, the last counts. Names as
  the server takes them: - or _, of any case, with loose- or plugin-, or shortened.
*/
void locations_read(struct locations *locations, size_t count, const char *const *arguments);

/* Sets the defaults, and why the places cannot be known. */
void locations_unknown(struct locations *locations, const char *why);

#endif
