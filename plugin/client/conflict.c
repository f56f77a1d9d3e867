// SPDX-License-Identifier: GPL-2.0-only
#include "client/conflict.h"

#include <stdio.h>

#include "base/clock.h"
#include "client/internal.h"
#include "client/report.h"
#include "client/request.h"

#define SYSTEM_DATA 1u                  /* MariaDB's ENCRYPTION_KEY_SYSTEM_DATA: not only tables are under it */

/*
  Describes the conflict and its cure. Copying the data or rotating the key needs the key in memory, which ends with the
  server. Needs the lock.
*/
static struct failure describe_conflict(const struct client *client, uint32_t id, uint32_t version)
{
  struct failure failure= failure_plain("");
  const char *directory= client->is_socket ? "the agent's key directory" : client->settings[SETTING_KEYFILE_DIR];
  snprintf(failure.message, sizeof failure.message,
           "key %u version %u: the file aws-kms-key.%u.%u in %s is not the key that the server has in memory and has encrypted "
           "data with; the one in memory stays in use", id, version, id, version, directory ? directory : "?");
  int size= snprintf(failure.hint, sizeof failure.hint,
                     "do not restart the server yet, it could not read that data then: move aws-kms-key.%u.%u and its .json "
                     "away, keep them, and put those back from a backup of this server's key files; without a backup, ",
                     id, version);
  if (size < 0 || (size_t) size >= sizeof failure.hint)
    return failure;
  if (id == SYSTEM_DATA)
    snprintf(failure.hint + size, sizeof failure.hint - (size_t) size, "%s",
             "copy all data out with mariadb-dump, and load it into a new server");
  else
    snprintf(failure.hint + size, sizeof failure.hint - (size_t) size,
             "SET GLOBAL aws_key_management_rotate_key=%u, then rebuild every table under key %u: ALTER TABLE ... FORCE", id,
             id);
  return failure;
}

/* Returns whether the request must not succeed after a version came that contradicts the one in memory. */
static bool spoils(const struct request *request, uint32_t id, uint32_t version)
{
  switch (request->type)
  {
  case FRAME_OPEN:
    return request->id == id;
  case FRAME_FETCH:
    return request->id == id && request->version == version;
  case FRAME_ROTATE:
    return request->id == id || request->id == 0;
  case FRAME_LOAD:
    /* An internal LOAD is for the keys that are still missing. */
    return !request->internal;
  default:
    return false;
  }
}

void conflict_tell(struct client *client, uint32_t id, uint32_t version)
{
  char text[FAILURE_TEXT_MAX];
  pthread_mutex_lock(&client->lock);
  struct failure failure= describe_conflict(client, id, version);
  failure_text(&failure, text, sizeof text);
  for (struct request *each= client->requests; each; each= each->next)
    if (each->sent && !each->spoilt && spoils(each, id, version))
    {
      each->spoilt= true;
      each->failure= failure;
    }
  report_note_error(client, text);
  bool log= recent_add(&client->recent, FRAME_KEY, id, version, "conflict", clock_ms());
  pthread_mutex_unlock(&client->lock);
  if (log)
    report_logf(client, SEVERITY_ERROR, "%s", text);
}
