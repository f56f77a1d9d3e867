// SPDX-License-Identifier: GPL-2.0-only
/* The environment of the agent: nothing that changes what code runs, and nothing of the user who started the server. */
#ifndef AKM_ENVIRONMENT_H
#define AKM_ENVIRONMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct environment_user
{
  char home[1024];
  char name[256];
  uid_t uid;
  gid_t gid;
  bool is_other;                        /* another user than ours: the agent becomes it before it does anything */
};

/*
  Returns the user whose AWS configuration is meant: ours, except in a mariadb-backup that root runs on the data of another
  user. That user is the owner of the current directory: mariadb-backup has changed to the data directory. (To prepare a
  backup it changes to that; if root owns it, root's configuration is meant.)
*/
uid_t environment_server_uid(bool is_backup);

/*
  Looks up home and name of the user in the user database (it may be LDAP: this can take long). A user that the database
  does not have is fine. Returns false if the database cannot be read; why[0..why_size) says why.
*/
bool environment_user(uid_t uid, struct environment_user *user, char *why, size_t why_size);

/*
  Returns a NULL terminated array: from inherited what AWS credentials, proxies, certificates and time zones need, a fixed
  PATH, HOME, USER, LOGNAME of the user, and the user that the agent becomes, if not us. NULL: out of memory.
  environment_free() frees it.
*/
char **environment_create(char *const *inherited, const struct environment_user *user);

/* Wipes and frees an environment, which may hold credentials. NULL is allowed. */
void environment_free(char **environment);

#endif
