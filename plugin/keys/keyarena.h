// SPDX-License-Identifier: GPL-2.0-only
/*
  Memory for plaintext keys: locked, left out of core dumps, empty in a forked child, wiped when given back.
*/
#ifndef AKM_KEYARENA_H
#define AKM_KEYARENA_H

#include <stddef.h>

struct keyarena_chunk;

/* All zero is an empty arena. Not thread-safe: the key table's writer lock guards it. */
struct keyarena
{
  struct keyarena_chunk *chunks;
  int lock_error;                       /* errno of the first mlock() that was refused, 0 if none was */
};

/* size bytes (at most 4096), zeroed, aligned to 16, valid until keyarena_destroy(). NULL: out of memory. */
void *keyarena_alloc(struct keyarena *arena, size_t size);

/* Wipes and unmaps everything. */
void keyarena_destroy(struct keyarena *arena);

#endif
