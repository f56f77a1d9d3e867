// SPDX-License-Identifier: GPL-2.0-only
#include "server/backup.h"

#include "server/keyfiles.h"
#include "server/server.h"

void backup_warn_of_missing_keys(const char *target)
{
  if (keyfiles_are_of_another() && !keyfiles_may_be_in("."))
    server_logf(SERVER_WARNING, "THIS BACKUP HOLDS NO KEYS, and without them nobody can restore it; when it is done, add "
                "those of the agent on %s, where it runs: mariadb-aws-kms backup-keys --to DIRECTORY (with --keyfile-dir, "
                "unless that agent is mariadb-aws-kms-agent.service)", target);
  else if (keyfiles_are_of_another())
    server_logf(SERVER_NOTE, "this backup holds the keys that are in the data directory; if the agent on %s has others, add "
                "them: mariadb-aws-kms backup-keys --to DIRECTORY (with --keyfile-dir, unless that agent is "
                "mariadb-aws-kms-agent.service)", target);
  else if (keyfiles_are_elsewhere())
    server_logf(SERVER_WARNING, "THIS BACKUP HOLDS NO KEYS, and without them nobody can restore it; when it is done, add "
                "them: mariadb-aws-kms backup-keys --keyfile-dir %s --to DIRECTORY", keyfiles_directory());
}

void backup_note_agent(const char *target)
{
  if (keyfiles_are_of_another())
    server_logf(SERVER_NOTE, "the keys come from the agent on %s, as backup-my.cnf says; elsewhere, or with other key files: "
                BACKUP_PREPARE_ELSEWHERE, target);
}
