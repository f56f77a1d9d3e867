// SPDX-License-Identifier: GPL-2.0-only
#include "client/bucket.h"

#include "test/test.h"

static int taken(struct bucket *bucket, int64_t now)
{
  int count= 0;
  while (bucket_take(bucket, now))
    count++;
  return count;
}

static void bucket_is_full_at_first_and_refills(void)
{
  struct bucket bucket= {0};
  const int64_t now= 5000;
  CHECK(taken(&bucket, now) == BUCKET_SIZE);
  CHECK(taken(&bucket, now + BUCKET_EVERY_MS - 1) == 0);
  CHECK(taken(&bucket, now + BUCKET_EVERY_MS) == 1);
  CHECK(taken(&bucket, now + 11 * BUCKET_EVERY_MS) == 10);
  CHECK(taken(&bucket, now + INT64_C(1000000) * BUCKET_EVERY_MS) == BUCKET_SIZE);
}

static void token_that_is_given_back_counts_once(void)
{
  struct bucket bucket= {0};
  CHECK(taken(&bucket, 0) == BUCKET_SIZE);
  bucket_give_back(&bucket);
  bucket_give_back(&bucket);
  CHECK(taken(&bucket, 0) == 2);
}

/* Gives every token back: the bucket never holds more than its size. */
static void bucket_does_not_overflow(void)
{
  struct bucket bucket= {0};
  for (int i= 0; i < 1000; i++)
  {
    CHECK(bucket_take(&bucket, i));
    bucket_give_back(&bucket);
  }
  CHECK(taken(&bucket, 1000) == BUCKET_SIZE);
}

static void tokens_of_later_are_taken_in_turn(void)
{
  struct bucket bucket= {0};
  int64_t at;
  CHECK(bucket_reserve(&bucket, 1000, 0, &at) && at == 1000);
  CHECK(taken(&bucket, 1000) == BUCKET_SIZE - 1);
  for (int64_t turn= 1; turn <= 3; turn++)
    CHECK(bucket_reserve(&bucket, 1000, 3 * BUCKET_EVERY_MS, &at) && at == 1000 + turn * BUCKET_EVERY_MS);
  CHECK(!bucket_reserve(&bucket, 1000, 3 * BUCKET_EVERY_MS, &at));
  CHECK(taken(&bucket, 1000 + 3 * BUCKET_EVERY_MS) == 0 && taken(&bucket, 1000 + 4 * BUCKET_EVERY_MS) == 1);
}

void bucket_tests(void)
{
  TEST(bucket_is_full_at_first_and_refills);
  TEST(token_that_is_given_back_counts_once);
  TEST(bucket_does_not_overflow);
  TEST(tokens_of_later_are_taken_in_turn);
}
