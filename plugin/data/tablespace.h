// SPDX-License-Identifier: GPL-2.0-only
/*
  The encryption of a file of InnoDB, and whether its first pages were encrypted with a key that we have. The file is not
  trusted. Pure POSIX; the AES functions are passed in.
*/
#ifndef AKM_TABLESPACE_H
#define AKM_TABLESPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "crypt/aes.h"
#include "keys/keytable.h"

/* The pages that may be judged: behind those that every tablespace begins with, within its first extent. */
#define TABLESPACE_FIRST_PAGE 3u
#define TABLESPACE_PAGES_END 16u

struct tablespace
{
  int file;                             /* owned by the caller */
  uint32_t id;
  uint32_t key_id;
  uint32_t lowest_version;              /* lowest version of its key on its pages; 0: some are not encrypted */
  uint32_t page_size;                   /* 0: a format whose pages are not judged */
  uint8_t iv[16];
  uint8_t states[TABLESPACE_PAGES_END / 4];     /* states of its first pages, two bits each */
};

enum tablespace_verdict
{
  TABLESPACE_UNPROVEN,
  TABLESPACE_KEY_FITS,
  TABLESPACE_OTHER_KEY
};

/* Reads page 0. Returns false if the file is no encrypted tablespace. *error as of datafile_read_at(). */
bool tablespace_read(struct tablespace *space, int file, int *error);

/*
  Returns the key version that an index page is encrypted with; KEY_VERSION_NONE: not encrypted, free, not judged, or no
  such page.
*/
uint32_t tablespace_page_version(const struct tablespace *space, uint32_t page);

/* Returns whether the page and page 0 have their right checksums. */
bool tablespace_is_whole(const struct tablespace *space, uint32_t page);

/* Judges whether the page was encrypted with this key. A damaged page proves nothing. */
enum tablespace_verdict tablespace_judge(const struct tablespace *space, uint32_t page, const struct key_record *key,
                                         const struct aes *aes);

#endif
