// SPDX-License-Identifier: GPL-2.0-only
#include "client/recent.h"

#include "test/test.h"

static void failure_is_remembered_for_a_second(void)
{
  struct recent recent= {0};
  CHECK(!recent_failed(&recent, 4, 7, 0, 5000));
  CHECK(recent_add(&recent, 4, 7, 0, "no", 5000));
  CHECK(recent_failed(&recent, 4, 7, 0, 5999) && !recent_failed(&recent, 4, 7, 0, 6000));
  CHECK(!recent_failed(&recent, 5, 7, 0, 5001) && !recent_failed(&recent, 4, 8, 0, 5001));
  CHECK(!recent_failed(&recent, 4, 7, 1, 5001));
}

static void same_message_is_logged_once_in_ten_seconds(void)
{
  struct recent recent= {0};
  CHECK(recent_add(&recent, 4, 7, 0, "no", 0));
  CHECK(!recent_add(&recent, 4, 7, 0, "no", 9999));
  CHECK(recent_add(&recent, 4, 7, 0, "other", 9999));
  CHECK(recent_add(&recent, 4, 8, 0, "no", 9999));
  CHECK(recent_add(&recent, 4, 7, 0, "no", 10000));
  CHECK(!recent_add(&recent, 4, 7, 0, "no", 10001));
}

static void forgiven_is_asked_again_but_not_logged_again(void)
{
  struct recent recent= {0};
  CHECK(recent_add(&recent, 4, 7, 0, "no", 0));
  recent_forgive(&recent);
  CHECK(!recent_failed(&recent, 4, 7, 0, 1));
  CHECK(!recent_add(&recent, 4, 7, 0, "no", 1));
  CHECK(recent_failed(&recent, 4, 7, 0, 2));
}

static void ring_wraps(void)
{
  struct recent recent= {0};
  for (uint32_t id= 1; id <= 3 * RECENT_SLOTS; id++)
    recent_add(&recent, 4, id, 0, "no", 100);
  CHECK(!recent_failed(&recent, 4, 1, 0, 101) && recent_failed(&recent, 4, 3 * RECENT_SLOTS, 0, 101));
}

static void log_has_a_budget_over_all_ids(void)
{
  struct recent recent= {0};
  for (uint32_t id= 1; id <= 2000; id++)
    CHECK(recent_add(&recent, 4, id, 0, "no", 100) == (id <= RECENT_BUDGET));
  CHECK(recent_failed(&recent, 4, 2000, 0, 101));
  CHECK(recent_untold_at(&recent) == 100 + RECENT_QUIET_MS && recent_untold(&recent, 100 + RECENT_QUIET_MS - 1) == 0);
  CHECK(recent_untold(&recent, 100 + RECENT_QUIET_MS) == 2000 - RECENT_BUDGET);
  CHECK(recent_untold(&recent, 100 + RECENT_QUIET_MS) == 0 && recent_untold_at(&recent) == INT64_MAX);
  CHECK(recent_add(&recent, 4, 2000, 0, "no", 100 + RECENT_QUIET_MS));
}

static void failure_of_no_key_is_outside_the_budget(void)
{
  struct recent recent= {0};
  for (uint32_t id= 1; id <= 100; id++)
    recent_add(&recent, 4, id, 0, "no", 100);
  CHECK(recent_add(&recent, 3, 0, 0, "no", 101));
  CHECK(!recent_add(&recent, 3, 0, 0, "no", 102) && recent_untold(&recent, 20000) == 100 - RECENT_BUDGET);
}

void recent_tests(void)
{
  TEST(failure_is_remembered_for_a_second);
  TEST(same_message_is_logged_once_in_ten_seconds);
  TEST(forgiven_is_asked_again_but_not_logged_again);
  TEST(ring_wraps);
  TEST(log_has_a_budget_over_all_ids);
  TEST(failure_of_no_key_is_outside_the_budget);
}
