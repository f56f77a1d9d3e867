// SPDX-License-Identifier: GPL-2.0-only
#include "client/settings.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

static const struct
{
  const char *name;
  size_t limit;
} known[SETTING_COUNT]= {
  [SETTING_MASTER_KEY_ID]= {"master_key_id", MASTER_KEY_ID_MAX},
  [SETTING_KEY_SPEC]= {"key_spec", 16},
  [SETTING_LOG_LEVEL]= {"log_level", 16},
  [SETTING_REGION]= {"region", 128},
  [SETTING_ENDPOINT_URL]= {"endpoint_url", 2048},
  [SETTING_REQUEST_TIMEOUT]= {"request_timeout", 16},
  [SETTING_MOCK]= {"mock", 8},
  [SETTING_KEYFILE_DIR]= {"keyfile_dir", PATH_MAX - 1},
  [SETTING_KEY_IDS]= {"key_ids", KEY_IDS_MAX},
  [SETTING_ALLOW_MISSING_KEYS]= {"allow_missing_keys", 8},
  [SETTING_ENCRYPTION_CONTEXT]= {"encryption_context", 2048},
  [SETTING_FAILOVER_REGIONS]= {"failover_regions", 1024},
  [SETTING_ENCRYPTION_ALGORITHM]= {"encryption_algorithm", 16},
  /* The name in frames; the variable is aws_key_management_sealed_key_cache. */
  [SETTING_SEALED_KEY_CACHE]= {"sealed_key_ring", 8},
};

const char *setting_name(enum setting setting)
{
  return known[setting].name;
}

size_t setting_limit(enum setting setting)
{
  return known[setting].limit;
}

static bool is_alnum(char c)
{
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool check_master_key_id(const char *value, size_t size, char *why, size_t why_size)
{
  for (size_t i= 0; i < size; i++)
    if (!is_alnum(value[i]) && !memchr(":/_.+=,@-", value[i], 9))
    {
      snprintf(why, why_size, "position %zu has a character that no KMS key id, ARN or alias has", i + 1);
      return false;
    }
  return true;
}

static bool is_lower(char c)
{
  return c >= 'a' && c <= 'z';
}

static size_t skip_while(bool (*is_part)(char), const char *value, size_t size, size_t at)
{
  while (at < size && is_part(value[at]))
    at++;
  return at;
}

static bool is_digit(char c)
{
  return c >= '0' && c <= '9';
}

/*
  Returns whether the value is the name of a Region, by the rule of src/format/region.ts: words of small letters, a number
  of one or two digits, hyphens between; two words at least.
*/
static bool is_region(const char *value, size_t size)
{
  size_t at= skip_while(is_lower, value, size, 0);
  size_t words= 1;
  if (at < 2)
    return false;
  for (;;)
  {
    if (at == size || value[at] != '-')
      return false;
    size_t start= ++at;
    at= skip_while(is_lower, value, size, start);
    if (at == start)
      break;
    words++;
  }
  size_t end= skip_while(is_digit, value, size, at);
  return words >= 2 && end == size && end > at && end - at <= 2;
}

static bool check_region(const char *value, size_t size, char *why, size_t why_size)
{
  if (size == 0 || is_region(value, size))
    return true;
  /* An availability zone is the Region and a letter. */
  bool is_zone= is_lower(value[size - 1]) && is_region(value, size - 1);
  snprintf(why, why_size, "expected the name of a Region such as eu-central-1%s",
           is_zone ? ", got an availability zone: leave its letter out" : "");
  return false;
}

static void skip_spaces(const char *value, size_t size, size_t *at)
{
  while (*at < size && value[*at] == ' ')
    ++*at;
}

/* Reads a key id of 1 to 4294967295, without leading zeros, at value[*at]. Returns 0 if there is none. */
static uint32_t read_id(const char *value, size_t size, size_t *at)
{
  uint64_t id= 0;
  if (*at < size && value[*at] == '0')
    return 0;
  for (; *at < size && value[*at] >= '0' && value[*at] <= '9'; ++*at)
  {
    id= id * 10 + (uint64_t) (value[*at] - '0');
    if (id > UINT32_MAX)
      return 0;
  }
  return (uint32_t) id;
}

/* Reads "7" or "7-9" at value[*at]. Returns false if neither is there; a range may end before it begins. */
static bool read_range(const char *value, size_t size, size_t *at, uint32_t *low, uint32_t *high)
{
  skip_spaces(value, size, at);
  *high= *low= read_id(value, size, at);
  if (!*low)
    return false;
  skip_spaces(value, size, at);
  if (*at == size || value[*at] != '-')
    return true;
  ++*at;
  skip_spaces(value, size, at);
  *high= read_id(value, size, at);
  skip_spaces(value, size, at);
  return *high != 0;
}

static bool check_key_ids(const char *value, size_t size, char *why, size_t why_size)
{
  size_t at= 0;
  uint32_t low, high;
  skip_spaces(value, size, &at);
  if (at == size)
    return true;
  for (;;)
  {
    if (!read_range(value, size, &at, &low, &high))
    {
      snprintf(why, why_size, "expected a key id of 1 to 4294967295 at position %zu, as in 1-2,100-199", at + 1);
      return false;
    }
    if (high < low)
    {
      snprintf(why, why_size, "the range %u-%u ends before it begins", low, high);
      return false;
    }
    if (at == size)
      return true;
    if (value[at] != ',')
    {
      snprintf(why, why_size, "expected a comma at position %zu, as in 1-2,100-199", at + 1);
      return false;
    }
    at++;
  }
}

bool setting_lists_key(const char *key_ids, uint32_t id)
{
  size_t size= strlen(key_ids), at= 0;
  uint32_t low, high;
  while (at < size && read_range(key_ids, size, &at, &low, &high))
  {
    if (low <= id && id <= high)
      return true;
    at++;                               /* the comma */
  }
  return false;
}

bool setting_check(enum setting setting, const char *value, size_t size, char *why, size_t why_size)
{
  if (size > known[setting].limit)
  {
    snprintf(why, why_size, "expected at most %zu bytes, got %zu", known[setting].limit, size);
    return false;
  }
  for (size_t i= 0; i < size; i++)
    if ((unsigned char) value[i] < 0x20 || value[i] == 0x7F)
    {
      snprintf(why, why_size, "position %zu has a control character", i + 1);
      return false;
    }
  if (!text_is_utf8((const uint8_t *) value, size))
  {
    snprintf(why, why_size, "expected UTF-8");
    return false;
  }
  switch (setting)
  {
  case SETTING_MASTER_KEY_ID:
    return check_master_key_id(value, size, why, why_size);
  case SETTING_REGION:
    return check_region(value, size, why, why_size);
  case SETTING_KEY_IDS:
    return check_key_ids(value, size, why, why_size);
  default:
    return true;
  }
}

int setting_choice(const char *const *names, const char *text, size_t size)
{
  for (int i= 0; names[i]; i++)
    if (strlen(names[i]) == size && strncasecmp(names[i], text, size) == 0)
      return i;
  return -1;
}
