// SPDX-License-Identifier: GPL-2.0-only
#include "client/settings.h"

#include <stdlib.h>
#include <string.h>

#include "client/frame.h"
#include "test/test.h"

static bool good(enum setting setting, const char *value)
{
  char why[160]= "";
  bool ok= setting_check(setting, value, strlen(value), why, sizeof why);
  CHECK(ok == (why[0] == 0));
  return ok;
}

static void master_key_ids(void)
{
  CHECK(good(SETTING_MASTER_KEY_ID, ""));
  CHECK(good(SETTING_MASTER_KEY_ID, "1234abcd-12ab-34cd-56ef-1234567890ab"));
  CHECK(good(SETTING_MASTER_KEY_ID, "mrk-1234abcd12ab34cd56ef1234567890ab"));
  CHECK(good(SETTING_MASTER_KEY_ID, "alias/mariadb_encryption/x-1"));
  CHECK(good(SETTING_MASTER_KEY_ID, "arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/1234abcd"));
  CHECK(!good(SETTING_MASTER_KEY_ID, "alias/a b"));
  CHECK(!good(SETTING_MASTER_KEY_ID, "alias/a\n"));
  CHECK(!good(SETTING_MASTER_KEY_ID, "alias/'x'"));
  CHECK(!good(SETTING_MASTER_KEY_ID, "alias/\xC3\xBC"));
}

static void key_id_lists(void)
{
  static const char *const right[]= {"", " ", "1", "1-2,100-199", " 1 - 2 , 3 ", "4294967295", "1-4294967295", "5-5"};
  static const char *const wrong[]= {"0", "00", "01", "-1", "1-", "1-2-3", "1,", ",1", "1,,2", "2-1", "4294967296",
                                     "99999999999999999999", "1;2", "a", "1 2", "1-0", "+1", "1.5"};
  for (size_t i= 0; i < sizeof right / sizeof right[0]; i++)
    CHECK(good(SETTING_KEY_IDS, right[i]));
  for (size_t i= 0; i < sizeof wrong / sizeof wrong[0]; i++)
    CHECK(!good(SETTING_KEY_IDS, wrong[i]));
}

/* The vectors of test/unit/kms/aws/region.test.ts. */
static void regions(void)
{
  static const struct
  {
    const char *value;
    bool is_right;
  } vectors[]= {
#include "test/client/region_vectors.h"
  };
  for (size_t i= 0; i < sizeof vectors / sizeof vectors[0]; i++)
    CHECK(good(SETTING_REGION, vectors[i].value) == vectors[i].is_right);
  char why[160];
  CHECK(!setting_check(SETTING_REGION, "eu-central-1a", 13, why, sizeof why) && strstr(why, "availability zone"));
  CHECK(!setting_check(SETTING_REGION, "Frankfurt", 9, why, sizeof why) && !strstr(why, "zone"));
  CHECK(!setting_check(SETTING_REGION, "eu-central-1\0", 13, why, sizeof why));
  CHECK(setting_check(SETTING_REGION, "eu-central-12", 12, why, sizeof why));
}

static void control_characters_and_bad_text(void)
{
  CHECK(!good(SETTING_REGION, "eu-west-1\t"));
  CHECK(!good(SETTING_ENDPOINT_URL, "http://x\r\nHost: y"));
  CHECK(!good(SETTING_KEYFILE_DIR, "/a\x7f"));
  CHECK(!good(SETTING_KEYFILE_DIR, "/\xFC"));
  CHECK(good(SETTING_KEYFILE_DIR, "/schl\xC3\xBCssel"));
}

static void lengths_have_limits(void)
{
  char why[160], *text= malloc(8192);
  if (!text)
    return;
  memset(text, 'a', 8192);
  for (int s= 0; s < SETTING_COUNT; s++)
  {
    size_t limit= setting_limit((enum setting) s);
    CHECK(!setting_check((enum setting) s, text, limit + 1, why, sizeof why));
    if (s != SETTING_KEY_IDS && s != SETTING_REGION)
      CHECK(setting_check((enum setting) s, text, limit, why, sizeof why));
  }
  free(text);
}

static void largest_settings_fit_into_one_hello(void)
{
  char text[8192];
  uint8_t *bytes= malloc(FRAME_TOTAL_MAX);
  if (!bytes)
    return;
  memset(text, 'a', sizeof text);
  struct frame_writer writer= frame_begin(bytes, FRAME_TOTAL_MAX, FRAME_HELLO, 1);
  frame_put_u16(&writer, PROTOCOL_VERSION);
  frame_put_u8(&writer, 1);
  frame_put_u16(&writer, SETTING_COUNT);
  for (int s= 0; s < SETTING_COUNT; s++)
  {
    const char *name= setting_name((enum setting) s);
    frame_put_str(&writer, name, strlen(name));
    frame_put_str(&writer, text, setting_limit((enum setting) s));
  }
  CHECK(frame_finish(&writer) > 0);
  free(bytes);
}

static void choice_is_a_whole_name_in_any_case(void)
{
  static const char *const names[]= {"AES_128", "AES_256", NULL};
  CHECK(setting_choice(names, "AES_128", 7) == 0 && setting_choice(names, "aes_256x", 7) == 1);
  CHECK(setting_choice(names, "AES_", 4) == -1 && setting_choice(names, "", 0) == -1);
  CHECK(setting_choice(names, "AES_192", 7) == -1 && setting_choice(names, "1", 1) == -1);
}

static void list_of_key_ids_names_what_is_in_it(void)
{
  CHECK(!setting_lists_key("", 1) && !setting_lists_key("  ", 1));
  CHECK(setting_lists_key("7", 7) && !setting_lists_key("7", 6) && !setting_lists_key("7", 8));
  const char *list= "1-2, 100 - 199 ,4294967295";
  const uint32_t in[]= {1, 2, 100, 150, 199, UINT32_MAX}, out[]= {0, 3, 99, 200, UINT32_MAX - 1};
  for (size_t i= 0; i < 6; i++)
    CHECK(setting_lists_key(list, in[i]));
  for (size_t i= 0; i < 5; i++)
    CHECK(!setting_lists_key(list, out[i]));
}

void settings_tests(void)
{
  TEST(choice_is_a_whole_name_in_any_case);
  TEST(master_key_ids);
  TEST(key_id_lists);
  TEST(regions);
  TEST(control_characters_and_bad_text);
  TEST(lengths_have_limits);
  TEST(largest_settings_fit_into_one_hello);
  TEST(list_of_key_ids_names_what_is_in_it);
}
