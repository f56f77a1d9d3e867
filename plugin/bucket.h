// SPDX-License-Identifier: GPL-2.0-only
/*
  How many keys that the server does not have its statements may ask for: any SQL user who may create a table can name
  any number of key ids, and each that is new costs calls of KMS and two files. A token bucket. Pure: the clock is passed
  in, the caller locks.
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
  int64_t full_at;                      /* ms; in the past: it is full */
};

/* Takes a token. Returns false if there is none. */
bool bucket_take(struct bucket *bucket, int64_t now);

/* What the token was taken for cost nothing. */
void bucket_give_back(struct bucket *bucket);

#endif
