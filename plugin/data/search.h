// SPDX-License-Identifier: GPL-2.0-only
/* The state of one look at the server's files, and what every part of it does to it. */
#ifndef AKM_SEARCH_H
#define AKM_SEARCH_H

#include <dirent.h>

#include "data/datafile.h"
#include "data/locations.h"
#include "data/use.h"

#define SEARCH_FITTING_MAX 1024u

struct search
{
  const struct locations *locations;
  const struct datadir_keys *keys;
  enum datadir_extent extent;
  struct datadir_use *use;
  /* The key versions that a page was decrypted with. */
  size_t fitting;
  struct
  {
    uint32_t id, version;
  } fits[SEARCH_FITTING_MAX];
};

/* A file or directory: its folder, for messages, and its name. */
struct place
{
  int directory;                        /* that the name is relative to; AT_FDCWD */
  const char *folder;                   /* "": the data directory */
  const char *name;
  enum datadir_kind kind;
};

/* The first that could not be looked at is kept. */
void search_unsure(struct search *search, const struct place *place, const char *why);

/* Whether nobody waits for the look any more: it is unsure then, and whatever is to be opened is not there. */
bool search_is_unwanted(struct search *search);

/* Notes nothing for 0, and for ENOENT: what is gone between the list and the look is not ours to miss. */
void search_trouble(struct search *search, const struct place *place, int error);

/*
  Returns -1 with what it means noted. Not a regular file (a FIFO that has the name of a table): -1, and nothing is noted. is_needed:
  what is not there is unsure, too.
*/
int search_open(struct search *search, const struct place *place, bool is_needed);

/* NULL as search_open(); search_next() also once the look is unwanted. */
DIR *search_list(struct search *search, const struct place *place, bool is_needed);
struct dirent *search_next(struct search *search, DIR *directory, const struct place *place);

/* Notes the use of a key that has() does not have. */
bool search_is_missing(struct search *search, uint32_t id, uint32_t version, const struct place *place);

/* The same for what a reader found. With DATADIR_SAMPLE an id without a version is none. */
bool search_are_missing(struct search *search, enum datafile_says says, const struct datafile_keys *keys,
                        const struct place *place);

void search_note(struct datadir_use *use, uint32_t id, uint32_t version, const struct place *place);

#endif
