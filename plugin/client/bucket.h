// SPDX-License-Identifier: GPL-2.0-only
/*
  A token bucket that rations requests for keys which the server does not have: any SQL user who may create a table can name
  any number of key ids, and each new one costs calls of KMS and two files. Tokens can be taken ahead of time, so that
  callers take turns in the order in which they came. Pure: the clock (ms) is passed in, the caller locks.
*/
#ifndef AKM_BUCKET_H
#define AKM_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

#define BUCKET_SIZE 100
#define BUCKET_EVERY_MS 1000            /* until a token comes back */

/* A bucket. All zero is a full one. */
struct bucket
{
  int64_t full_at;                      /* ms; past: it is full; far in the future: tokens are owed */
};

/* Takes a token. Returns false if there is none. */
bool bucket_take(struct bucket *bucket, int64_t now);

/*
  Takes the next token that comes back within wait_ms, and sets *at to its time: now, or later. Returns false, and takes
  nothing, if there is none.
*/
bool bucket_reserve(struct bucket *bucket, int64_t now, int64_t wait_ms, int64_t *at);

/* Gives a token back: its request cost nothing, or its turn was not waited for. */
void bucket_give_back(struct bucket *bucket);

#endif
