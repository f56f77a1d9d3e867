// SPDX-License-Identifier: GPL-2.0-only
/*
  How many keys that the server does not have its statements may ask for: any SQL user who may create a table can name
  any number of key ids, and each that is new costs calls of KMS and two files. A token bucket whose tokens can be taken
  ahead of time: callers then take turns in the order in which they came. Pure: the clock is passed in, the caller locks.
*/
#ifndef AKM_BUCKET_H
#define AKM_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

#define BUCKET_SIZE 100
#define BUCKET_EVERY_MS 1000            /* a token comes back */

/* All zero is full. */
struct bucket
{
  int64_t full_at;                      /* ms; in the past: it is full; far in the future: tokens are owed */
};

/* Takes a token. Returns false if there is none. */
bool bucket_take(struct bucket *bucket, int64_t now);

/*
  Takes the next token that will be there within wait_ms, and says when in *at: now, or later. Returns false, and takes
  nothing, if there is none.
*/
bool bucket_reserve(struct bucket *bucket, int64_t now, int64_t wait_ms, int64_t *at);

/* The token goes back: its request cost nothing, or its turn was not waited for. */
void bucket_give_back(struct bucket *bucket);

#endif
