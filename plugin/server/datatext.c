// SPDX-License-Identifier: GPL-2.0-only
#include "server/datatext.h"

#include <stdio.h>

#define KEYS_CAME_FROM "where this data came from (the donor of a Galera state transfer, the server that was backed up)"

static const char *in_data_directory(const char *file)
{
  return file[0] == '/' ? "" : " in the data directory";
}

/* Only a table may be another server's: without its redo log, system tablespace or binary log a server loses data. */
static const char *other_cure(enum datadir_kind kind)
{
  switch (kind)
  {
  case DATADIR_TABLE:
    return "; if no table of this server is in that file, move that file away instead";
  case DATADIR_REMOTE_TABLE:
    return "; if no table of this server is in that file, move the .isl file of its name out of the data directory instead";
  case DATADIR_ARIA:
    return "; if no table of this server is in that file, move that file and its .MAD away instead";
  case DATADIR_SYSTEM:
  case DATADIR_REDO:
  case DATADIR_BINLOG:
    break;
  }
  return "";
}

void datatext_of_start(char text[DATATEXT_MAX], const struct datadir_use *use, const char *keys, bool starts)
{
  char version[24]= "";
  if (use->version)
    snprintf(version, sizeof version, " version %u", use->version);
  if (use->is_other_key)
    snprintf(text, DATATEXT_MAX, "key %u%s is among %s, but %s%s is encrypted with another key of this number; nothing was "
             "changed; move the files aws-kms-key.* away from there and keep them, copy those from " KEYS_CAME_FROM
             " there, and start the server again (do not use innodb_force_recovery)%s%s", use->id, version, keys, use->file,
             in_data_directory(use->file), other_cure(use->kind),
             starts ? "; starting all the same, as aws_key_management_allow_missing_keys says" : "");
  else
    snprintf(text, DATATEXT_MAX, "key %u%s is not among %s, and %s%s is encrypted with it; no new key is made in its place, "
             "and nothing was changed; if their file system is not mounted, mount it; otherwise copy the files aws-kms-key.* "
             "from " KEYS_CAME_FROM ", or from a backup of them, there; then start the server again (do not use "
             "innodb_force_recovery)%s", use->id, version, keys, use->file, in_data_directory(use->file),
             other_cure(use->kind));
}

static void hint_of_unsure(struct failure *failure, const struct datadir_use *use)
{
  snprintf(failure->hint, sizeof failure->hint, "%s",
           use->unsure_file[0] ? "bring it back or make it readable for the server's user, or move it away if nothing of this "
           "server is in it"
           : "make the option files readable for the server's user, and start the server again");
}

void datatext_of_creation(struct failure *failure, uint32_t id, const struct datadir_use *use, bool found,
                          const char *keys)
{
  if (found)
  {
    snprintf(failure->message, sizeof failure->message, "key %u is not among %s, and %s%s is encrypted with it: no new key "
             "is made in its place", id, keys, use->file, in_data_directory(use->file));
    snprintf(failure->hint, sizeof failure->hint, "restore the files aws-kms-key.%u.* from a backup of the key files%s", id,
             other_cure(use->kind));
    return;
  }
  snprintf(failure->message, sizeof failure->message, "key %u is not among %s, and data may be encrypted with it: no new key "
           "is made in its place, because %s%s%s%s", id, keys, use->unsure_file,
           use->unsure_file[0] ? in_data_directory(use->unsure_file) : "", use->unsure_file[0] ? " cannot be looked at: " : "",
           use->unsure_why);
  hint_of_unsure(failure, use);
}

void datatext_of_rotation(struct failure *failure, uint32_t id, const struct datadir_use *use, bool found,
                          const char *keys)
{
  char subject[48]= "no key is";
  if (found)
  {
    snprintf(failure->message, sizeof failure->message, "key %u version %u is not among %s, and %s%s is encrypted with it: %s "
             "rotated, so that no version is made a second time", use->id, use->version, keys, use->file,
             in_data_directory(use->file), id ? "it is not" : "no key is");
    snprintf(failure->hint, sizeof failure->hint, "restore the files aws-kms-key.%u.* from a backup of the key files, and "
             "start the server again%s", use->id, other_cure(use->kind));
    return;
  }
  if (id)
    snprintf(subject, sizeof subject, "key %u is not", id);
  snprintf(failure->message, sizeof failure->message, "%s rotated: data may be encrypted with a version that is not "
           "among %s, because %s%s%s%s", subject, keys, use->unsure_file,
           use->unsure_file[0] ? in_data_directory(use->unsure_file) : "", use->unsure_file[0] ? " cannot be looked at: " : "",
           use->unsure_why);
  hint_of_unsure(failure, use);
}
