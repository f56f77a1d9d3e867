// SPDX-License-Identifier: GPL-2.0-only
/* The settings that the plugin passes to the agent: their names in the protocol and their valid values. Pure. */
#ifndef AKM_SETTINGS_H
#define AKM_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum setting
{
  SETTING_MASTER_KEY_ID,
  SETTING_KEY_SPEC,
  SETTING_LOG_LEVEL,
  SETTING_REGION,
  SETTING_ENDPOINT_URL,
  SETTING_REQUEST_TIMEOUT,
  SETTING_MOCK,
  SETTING_KEYFILE_DIR,
  SETTING_KEY_IDS,
  SETTING_ALLOW_MISSING_KEYS,
  SETTING_ENCRYPTION_CONTEXT,
  SETTING_FAILOVER_REGIONS,
  SETTING_ENCRYPTION_ALGORITHM,
  SETTING_SEALED_KEY_CACHE,
  SETTING_COUNT
};

/* Returns the name in HELLO and SET, and behind "aws_key_management_" in SQL. */
const char *setting_name(enum setting setting);

/* Returns the most bytes of a value. The largest values of all settings fit into one HELLO together. */
size_t setting_limit(enum setting setting);

#define MASTER_KEY_ID_MAX 2048u
#define KEY_IDS_MAX 4096u

/*
  Returns whether value[0..size) is valid for the setting. If not, why[0..why_size) says what is wrong with it, to be put
  behind the variable's name and a colon.
*/
bool setting_check(enum setting setting, const char *value, size_t size, char *why, size_t why_size);

/* Returns whether a value of key_ids that setting_check() accepted names the key id. An empty list names none. */
bool setting_lists_key(const char *key_ids, uint32_t id);

/* Returns the index of text[0..size), in any case, in an array of names that NULL ends; -1: none of them. */
int setting_choice(const char *const *names, const char *text, size_t size);

#endif
