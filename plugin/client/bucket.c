// SPDX-License-Identifier: GPL-2.0-only
#include "client/bucket.h"

bool bucket_reserve(struct bucket *bucket, int64_t now, int64_t wait_ms, int64_t *at)
{
  int64_t from= bucket->full_at > now ? bucket->full_at : now;
  int64_t turn= from - (int64_t) (BUCKET_SIZE - 1) * BUCKET_EVERY_MS;
  if (turn - now > wait_ms)
    return false;
  *at= turn > now ? turn : now;
  bucket->full_at= from + BUCKET_EVERY_MS;
  return true;
}

bool bucket_take(struct bucket *bucket, int64_t now)
{
  int64_t at;
  return bucket_reserve(bucket, now, 0, &at);
}

void bucket_give_back(struct bucket *bucket)
{
  bucket->full_at-= BUCKET_EVERY_MS;
}
