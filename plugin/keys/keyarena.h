// SPDX-License-Identifier: GPL-2.0-only
/* Memory for plaintext keys: locked, left out of core dumps, empty in a forked child, wiped when given back. */
#ifndef AKM_KEYARENA_H
#define AKM_KEYARENA_H

#include <stddef.h>

struct keyarena_chunk;

/* An arena. All zero is an empty one. Not thread-safe: the key table's writer lock guards it. */
struct keyarena
{
  struct keyarena_chunk *chunks;
  int lock_error;                       /* errno of the first refused mlock(), 0 if none was */
};

/*
  Returns size bytes (1 to 4096), zeroed, aligned to 16, valid until keyarena_destroy(). NULL: out of memory, or size out of
  range.
*/
void *keyarena_alloc(struct keyarena *arena, size_t size);

/* Wipes and unmaps all memory of the arena, which is empty then. */
void keyarena_destroy(struct keyarena *arena);

#endif
