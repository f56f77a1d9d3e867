// SPDX-License-Identifier: GPL-2.0-only
/*
  Any SQL user who may create a table can have a key made each second for ever, and a server whose keys outgrow its
  start_timeout does not start any more. So statements create keys only up to a limit.
*/
#include "client/limit.h"

#include <stdio.h>

#include "client/internal.h"
#include "client/report.h"

#define CODE_OF_LIMIT "KEY_LIMIT"       /* a code of the plugin alone, not in src/errors.ts */
#define SYSTEM_KEYS 2u                  /* MariaDB's ids 1 and 2, of system and of temporary data */
#define WARN_FROM_PERCENT 80u
#define WARN_EACH_PERCENT 5u

uint32_t limit_of_versions(const struct client *client)
{
  uint64_t limit= (uint64_t) (client->config.start_timeout_ms / 1000) * VERSIONS_PER_START_SECOND;
  return limit > UINT32_MAX ? UINT32_MAX : (uint32_t) limit;
}

bool limit_lists(const struct client *client, uint32_t id)
{
  const char *key_ids= client->settings[SETTING_KEY_IDS];
  return key_ids && setting_lists_key(key_ids, id);
}

static size_t versions(const struct client *client)
{
  return atomic_load(&client->config.table->version_count);
}

bool limit_is_reached(const struct client *client, uint32_t id)
{
  return id > SYSTEM_KEYS && versions(client) >= limit_of_versions(client) && !limit_lists(client, id);
}

#define LIMIT_HINT \
  "list the key ids that are wanted in aws_key_management_key_ids, which may always be created, or raise " \
  "aws_key_management_start_timeout"

struct failure limit_failure(const struct client *client, uint32_t id)
{
  struct failure failure= {.code= CODE_OF_LIMIT, .hint= LIMIT_HINT};
  snprintf(failure.message, sizeof failure.message,
           "key %u is not created: the server has %zu key versions, and from %u on, %u for each second of "
           "aws_key_management_start_timeout, statements create no more, lest a start cannot load them", id, versions(client),
           limit_of_versions(client), VERSIONS_PER_START_SECOND);
  return failure;
}

void limit_warn(struct client *client)
{
  size_t now= versions(client), limit= limit_of_versions(client);
  if (limit == 0 || client->config.role != ROLE_SERVER)
    return;
  size_t percent= now * 100 / limit;
  uint32_t step= percent >= 100 ? 100 : (uint32_t) (percent - percent % WARN_EACH_PERCENT);
  if (step < WARN_FROM_PERCENT || step <= client->io.told_of_versions)
    return;
  client->io.told_of_versions= step;
  report_logf(client, SEVERITY_WARNING,
              "the server has %zu key versions; from %zu on, %u for each second of aws_key_management_start_timeout, "
              "statements create no more keys; " LIMIT_HINT, now, limit, VERSIONS_PER_START_SECOND);
}
