// SPDX-License-Identifier: GPL-2.0-only
#include "client/recent.h"

#include <stdint.h>

/* The hash FNV-1a. */
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

static bool within_budget(struct recent *recent, int64_t now)
{
  if (now >= recent->budget_until)
  {
    recent->budget_until= now + RECENT_QUIET_MS;
    recent->spent= 0;
  }
  if (recent->spent == RECENT_BUDGET)
  {
    if (recent->untold < UINT32_MAX)
      recent->untold++;
    return false;
  }
  recent->spent++;
  return true;
}

static struct recent_entry *entry_of(struct recent *recent, uint8_t kind, uint32_t id, uint32_t version,
                                     uint64_t reason)
{
  for (size_t i= 0; i < RECENT_SLOTS; i++)
    if (names(&recent->entries[i], kind, id, version) && recent->entries[i].reason == reason)
      return &recent->entries[i];
  struct recent_entry *oldest= &recent->entries[recent->next];
  recent->next= (recent->next + 1) % RECENT_SLOTS;
  *oldest= (struct recent_entry) {
    .used= true, .kind= kind, .id= id, .version= version, .reason= reason, .quiet_until= INT64_MIN,
  };
  return oldest;
}

bool recent_add(struct recent *recent, uint8_t kind, uint32_t id, uint32_t version, const char *reason, int64_t now)
{
  struct recent_entry *entry= entry_of(recent, kind, id, version, hash(reason));
  entry->failed_at= now;
  if (now < entry->quiet_until || (id && !within_budget(recent, now)))
    return false;
  entry->quiet_until= now + RECENT_QUIET_MS;
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

uint32_t recent_untold(struct recent *recent, int64_t now)
{
  if (now < recent_untold_at(recent))
    return 0;
  uint32_t count= recent->untold;
  recent->untold= 0;
  return count;
}

int64_t recent_untold_at(const struct recent *recent)
{
  return recent->untold ? recent->budget_until : INT64_MAX;
}
