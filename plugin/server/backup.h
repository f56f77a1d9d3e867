// SPDX-License-Identifier: GPL-2.0-only
/*
  Messages of mariadb-backup about the keys of a backup.
*/
#ifndef AKM_BACKUP_H
#define AKM_BACKUP_H

/*
  The command that prepares a backup without the agent that backup-my.cnf names. mariadb-backup refuses options of a plugin
  that are not loose, and passes all of them on.
*/
#define BACKUP_PREPARE_ELSEWHERE \
  "mariadb-backup --defaults-file=BACKUP/backup-my.cnf --prepare --target-dir=BACKUP " \
  "--loose-aws-key-management-agent= --loose-aws-key-management-keyfile-dir=DIRECTORY-OF-THE-KEY-FILES"

/* In mariadb-backup --backup: warns if it does not copy from where the key files are. target: as in struct client_config. */
void backup_warn_of_missing_keys(const char *target);

/* In mariadb-backup --prepare: notes an agent of its own, which may be on the machine of the backup only. */
void backup_note_agent(const char *target);

#endif
