// SPDX-License-Identifier: GPL-2.0-only
#include "bucket.h"

bool bucket_take(struct bucket *bucket, int64_t now)
{
  int64_t from= bucket->full_at > now ? bucket->full_at : now;
  if (from - now > (int64_t) (BUCKET_SIZE - 1) * BUCKET_EVERY_MS)
    return false;
  bucket->full_at= from + BUCKET_EVERY_MS;
  return true;
}

void bucket_give_back(struct bucket *bucket)
{
  bucket->full_at-= BUCKET_EVERY_MS;
}
