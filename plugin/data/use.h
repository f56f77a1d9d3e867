// SPDX-License-Identifier: GPL-2.0-only
/*
  The keys that the server's files are searched for, and the use of one that was found.
*/
#ifndef AKM_USE_H
#define AKM_USE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypt/aes.h"
#include "keys/keytable.h"

struct datadir_keys
{
  bool (*has)(void *context, uint32_t id, uint32_t version);    /* version 0: any version of the id */
  void *context;
  const struct keytable *table;         /* the keys that are tried on pages */
  const struct aes *aes;                /* NULL: no key is tried, and pages are read with versions_on_pages only */
  bool versions_on_pages;               /* check versions on pages, and the lowest version that a tablespace names */
  /*
    Returns whether nobody waits for the search any more; called for each file. The result is unsure then. NULL: somebody
    always does.
  */
  bool (*is_unwanted)(void *argument);
  void *argument;
};

enum datadir_extent
{
  DATADIR_WHOLE,
  DATADIR_SAMPLE                        /* files of every server: the same effort, whatever tables it has */
};

enum datadir_kind
{
  DATADIR_TABLE,                        /* an .ibd file of InnoDB */
  DATADIR_REMOTE_TABLE,                 /* an .ibd file elsewhere that an .isl in the data directory names */
  DATADIR_SYSTEM,                       /* a system or undo tablespace */
  DATADIR_REDO,
  DATADIR_BINLOG,                       /* a binary or relay log */
  DATADIR_ARIA                          /* a .MAI or .MAD */
};

#define DATADIR_FILE_MAX 600u
#define DATADIR_WHY_MAX 160u

struct datadir_use
{
  uint32_t id;
  uint32_t version;                     /* 0: of a table, which may have many */
  bool is_other_key;                    /* the key version exists, but the page was encrypted with another key */
  enum datadir_kind kind;
  char file[DATADIR_FILE_MAX];          /* relative to the data directory if inside it */
  bool is_unsure;                       /* something could not be read: the first such file, and why */
  char unsure_file[DATADIR_FILE_MAX];   /* empty: it was no file */
  char unsure_why[DATADIR_WHY_MAX];
};

#endif
