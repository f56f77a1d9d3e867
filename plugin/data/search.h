// SPDX-License-Identifier: GPL-2.0-only
/* One search of the server's files: its state, and the functions that every part of it uses. */
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

/* A file or directory: the folder for messages, and the name. */
struct place
{
  int directory;                        /* the name is relative to it; AT_FDCWD */
  const char *folder;                   /* "": the data directory */
  const char *name;
  enum datadir_kind kind;
};

/* Notes that something could not be read, and why. Only the first is kept. place NULL: it is no file. */
void search_unsure(struct search *search, const struct place *place, const char *why);

/* Returns whether nobody waits for the search any more. It is unsure then, and nothing is opened any more. */
bool search_is_unwanted(struct search *search);

/* Notes an errno of a file as unsure, unless it is 0 or ENOENT: a file that went away since it was listed is not missed. */
void search_trouble(struct search *search, const struct place *place, int error);

/*
  Opens a file for reading. Returns -1 after it noted why. A file that is not regular (a FIFO with the name of a table)
  gives -1, and nothing is noted. is_needed: a file that does not exist is unsure, too.
*/
int search_open(struct search *search, const struct place *place, bool is_needed);

/*
  Opens and reads a directory. search_list() returns NULL where search_open() returns -1; search_next() returns NULL at the
  end, on an error, which it notes, and once nobody waits any more. The caller closes the directory.
*/
DIR *search_list(struct search *search, const struct place *place, bool is_needed);
struct dirent *search_next(struct search *search, DIR *directory, const struct place *place);

/* Returns whether has() has no such key, and then notes its use. */
bool search_is_missing(struct search *search, uint32_t id, uint32_t version, const struct place *place);

/*
  Returns whether a key that a reader found is missing, and then notes its use. With DATADIR_SAMPLE an id without a version
  is no use.
*/
bool search_are_missing(struct search *search, enum datafile_says says, const struct datafile_keys *keys,
                        const struct place *place);

/* Writes the use of a key into *use. */
void search_note(struct datadir_use *use, uint32_t id, uint32_t version, const struct place *place);

#endif
