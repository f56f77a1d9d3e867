// SPDX-License-Identifier: GPL-2.0-only
#include "client/reasons.h"

#include <string.h>

void reasons_add(struct reasons *reasons, uint32_t id, uint32_t version, const struct failure *failure, int64_t now)
{
  struct reason *slot= &reasons->slots[reasons->next];
  for (size_t i= 0; i < REASON_SLOTS; i++)
    if (reasons->slots[i].id == id && reasons->slots[i].version == version)
      slot= &reasons->slots[i];
  if (slot == &reasons->slots[reasons->next])
    reasons->next= (reasons->next + 1) % REASON_SLOTS;
  *slot= (struct reason) {.id= id, .version= version, .at= now, .failure= *failure};
}

const struct failure *reasons_find(const struct reasons *reasons, uint32_t id, uint32_t version, int64_t now)
{
  for (size_t i= 0; i < REASON_SLOTS; i++)
  {
    const struct reason *slot= &reasons->slots[i];
    if (slot->id == id && slot->version == version && now - slot->at < REASON_KEPT_MS)
      return &slot->failure;
  }
  return NULL;
}

const char *reason_for_everybody(const struct failure *failure)
{
  static const struct
  {
    const char *code, *cause;
  } rows[]= {
    {"KMS_OPERATOR", "KMS refuses it"},
    {"KMS_TRANSIENT", "KMS cannot be reached, or fails for the moment"},
    {"KMS_CORRUPT", "KMS cannot open its key file"},
    {"KMS_BAD_ANSWER", "KMS answered wrongly"},
    {"TIMEOUT", "KMS did not answer in time"},
    {"KEY_OF_DATA", "data is encrypted with it, or could not be looked at, and its key files are gone"},
    {"KEY_LIMIT", "the server has so many key versions that statements create no more keys"},
    {"KEY_UNKNOWN", "no file of it is stored"},
    {"KEY_FILE_MISSING", "its key file is gone"},
    {"KEY_FILE_CORRUPT", "its key file is damaged"},
    {"KEY_FILE_SWAPPED", "its key file is another key's"},
    {"KEY_FILE_UNREADABLE", "its key file cannot be read"},
    {"KEY_VERSIONS_EXHAUSTED", "it has no free version number"},
    {"STORE_UNAVAILABLE", "the directory of key files cannot be used, or has lost files"},
    {"", "the agent cannot be used"},
  };
  for (size_t i= 0; i < sizeof rows / sizeof rows[0]; i++)
    if (strcmp(failure->code, rows[i].code) == 0)
      return rows[i].cause;
  return "it could not be had";
}
