// SPDX-License-Identifier: GPL-2.0-only
#include "recent.h"

#include <stdint.h>

/* FNV-1a. */
static uint64_t hash(const char *text)
{
  uint64_t value= UINT64_C(0xCBF29CE484222325);
  for (; *text; text++)
    value= (value ^ (uint8_t) *text) * UINT64_C(0x100000001B3);
  return value;
}

static bool names(const struct recent_entry *entry, uint8_t kind, uint32_t id, uint32_t version)
{
  return entry->used && entry->kind == kind && entry->id == id && entry->version == version;
}

bool recent_add(struct recent *recent, uint8_t kind, uint32_t id, uint32_t version, const char *message, int64_t now)
{
  uint64_t said= hash(message);
  for (size_t i= 0; i < RECENT_SLOTS; i++)
  {
    struct recent_entry *entry= &recent->entries[i];
    if (!names(entry, kind, id, version) || entry->message != said)
      continue;
    entry->failed_at= now;
    if (now - entry->logged_at < RECENT_QUIET_MS)
      return false;
    entry->logged_at= now;
    return true;
  }
  recent->entries[recent->next]= (struct recent_entry) {
    .used= true, .kind= kind, .id= id, .version= version, .message= said, .failed_at= now, .logged_at= now,
  };
  recent->next= (recent->next + 1) % RECENT_SLOTS;
  return true;
}

bool recent_failed(const struct recent *recent, uint8_t kind, uint32_t id, uint32_t version, int64_t now)
{
  for (size_t i= 0; i < RECENT_SLOTS; i++)
  {
    const struct recent_entry *entry= &recent->entries[i];
    if (names(entry, kind, id, version) && now - entry->failed_at < RECENT_REFUSE_MS)
      return true;
  }
  return false;
}

void recent_forgive(struct recent *recent)
{
  for (size_t i= 0; i < RECENT_SLOTS; i++)
    recent->entries[i].failed_at= INT64_MIN / 2;
}
