// SPDX-License-Identifier: GPL-2.0-only
#include "client/reasons.h"

#include <stdio.h>
#include <string.h>

#include "test/test.h"

static struct failure failure_of(const char *code, const char *message)
{
  struct failure failure= {.hint= ""};
  snprintf(failure.code, sizeof failure.code, "%s", code);
  snprintf(failure.message, sizeof failure.message, "%s", message);
  return failure;
}

static void newest_reason_of_a_key_is_found_for_ten_seconds(void)
{
  static struct reasons reasons;
  struct failure first= failure_of("TIMEOUT", "first"), second= failure_of("TIMEOUT", "second");
  CHECK(!reasons_find(&reasons, 5, 0, 1000) && !reasons_find(&reasons, 0, 1, 1000));
  reasons_add(&reasons, 5, 0, &first, 1000);
  reasons_add(&reasons, 5, 2, &second, 1000);
  CHECK(strcmp(reasons_find(&reasons, 5, 0, 1001)->message, "first") == 0);
  CHECK(strcmp(reasons_find(&reasons, 5, 2, 1001)->message, "second") == 0);
  reasons_add(&reasons, 5, 0, &second, 2000);
  CHECK(strcmp(reasons_find(&reasons, 5, 0, 11999)->message, "second") == 0);
  CHECK(!reasons_find(&reasons, 5, 0, 12000) && !reasons_find(&reasons, 6, 0, 2000));
}

static void many_keys_push_out_the_oldest_reason(void)
{
  static struct reasons reasons;
  struct failure failure= failure_of("", "no");
  for (uint32_t id= 1; id <= REASON_SLOTS + 1; id++)
    reasons_add(&reasons, id, 0, &failure, 1000);
  CHECK(!reasons_find(&reasons, 1, 0, 1000) && reasons_find(&reasons, 2, 0, 1000));
  CHECK(reasons_find(&reasons, REASON_SLOTS + 1, 0, 1000) != NULL);
}

static void reason_for_everybody_names_no_account_and_no_path(void)
{
  const struct failure failures[]= {
    failure_of("KMS_OPERATOR", "arn:aws:kms:us-east-1:111122223333:key/1 /var/lib"), failure_of("NEW_CODE", "arn: /var/lib"),
    failure_of("", "arn: /var/lib"),
  };
  for (size_t i= 0; i < sizeof failures / sizeof failures[0]; i++)
  {
    const char *text= reason_for_everybody(&failures[i]);
    CHECK(text[0] && !strstr(text, "arn:") && !strstr(text, "/var") && !strstr(text, "1111"));
  }
}

static void limit_of_key_versions_has_a_reason(void)
{
  const struct failure limit= failure_of("KEY_LIMIT", "no"), unknown= failure_of("NEW_CODE", "no");
  CHECK(strstr(reason_for_everybody(&limit), "so many key versions"));
  CHECK(strcmp(reason_for_everybody(&limit), reason_for_everybody(&unknown)) != 0);
}

void reasons_tests(void)
{
  TEST(newest_reason_of_a_key_is_found_for_ten_seconds);
  TEST(many_keys_push_out_the_oldest_reason);
  TEST(reason_for_everybody_names_no_account_and_no_path);
  TEST(limit_of_key_versions_has_a_reason);
}
