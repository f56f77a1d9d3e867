// SPDX-License-Identifier: GPL-2.0-only
/*
  The keys that the server's files are searched for, and the use of one that was found.
*/
#ifndef AKM_USE_H
#define AKM_USE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "keys/crypt.h"
#include "keys/keytable.h"

struct datadir_keys
{
  bool (*has)(void *context, uint32_t id, uint32_t version);    /* version 0: any */
  void *context;
  const struct keytable *table;         /* whose keys are tried on pages */
  const struct aes *aes;                /* NULL: no key is tried, and pages are looked at with versions_on_pages only */
  bool versions_on_pages;               /* and the lowest version that a tablespace says it has */
  /* Whether nobody waits for the look any more; asked for each file. It is unsure then. NULL: somebody always does. */
  bool (*is_unwanted)(void *argument);
  void *argument;
};

enum datadir_extent
{
  DATADIR_WHOLE,
  DATADIR_SAMPLE                        /* what every server has: the same effort, however many tables and logs there are */
};

enum datadir_kind
{
  DATADIR_TABLE,                        /* of InnoDB: a .ibd */
  DATADIR_REMOTE_TABLE,                 /* the same, which a .isl in the data directory names */
  DATADIR_SYSTEM,                       /* a system or undo tablespace */
  DATADIR_REDO,
  DATADIR_BINLOG,                       /* or a relay log */
  DATADIR_ARIA                          /* a .MAI or .MAD */
};

#define DATADIR_FILE_MAX 600u
#define DATADIR_WHY_MAX 160u

struct datadir_use
{
  uint32_t id;
  uint32_t version;                     /* 0: of a table, which may have many */
  bool is_other_key;                    /* the key version is there, but the page was encrypted with another key */
  enum datadir_kind kind;
  char file[DATADIR_FILE_MAX];          /* relative to the data directory, where it is in there */
  bool is_unsure;                       /* something could not be looked at: the first of it, and why */
  char unsure_file[DATADIR_FILE_MAX];   /* empty: not a file */
  char unsure_why[DATADIR_WHY_MAX];
};

#endif
