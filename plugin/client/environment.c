// SPDX-License-Identifier: GPL-2.0-only
#include "client/environment.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENTRY_FIRST 1024u
#define ENTRY_MAX (1024u * 1024u)       /* an entry of the database that is larger belongs to no user */

static const char *const passed_on[]= {
  "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
  "SSL_CERT_FILE", "TZ", "LANG", "LC_ALL",
};

static bool is_passed_on(const char *variable)
{
  const char *equals= strchr(variable, '=');
  if (!equals)
    return false;
  size_t size= (size_t) (equals - variable);
  if (size > 4 && memcmp(variable, "AWS_", 4) == 0)
    return true;
  for (size_t i= 0; i < sizeof passed_on / sizeof passed_on[0]; i++)
    if (strlen(passed_on[i]) == size && memcmp(passed_on[i], variable, size) == 0)
      return true;
  return false;
}

static bool text_is_set(const char *text)
{
  return text && text[0];
}

/* Returns whether the errno means that there is no such user: getpwuid(3) lists these. */
static bool means_absent(int error)
{
  return error == 0 || error == ENOENT || error == ESRCH || error == EBADF || error == EPERM;
}

/* Reads one entry into *user, returns 0 or an errno. A name or home that is too long for us counts as none. */
static int look_up(uid_t uid, struct environment_user *user, size_t size)
{
  struct passwd entry, *found= NULL;
  char *space= malloc(size);
  if (!space)
    return ENOMEM;
  int error= getpwuid_r(uid, &entry, space, size, &found);
  if (!error && found && text_is_set(entry.pw_dir) && strlen(entry.pw_dir) < sizeof user->home)
    strcpy(user->home, entry.pw_dir);
  if (!error && found)
    user->gid= entry.pw_gid;
  if (!error && found && text_is_set(entry.pw_name) && strlen(entry.pw_name) < sizeof user->name)
    strcpy(user->name, entry.pw_name);
  free(space);
  return error;
}

bool environment_user(uid_t uid, struct environment_user *user, char *why, size_t why_size)
{
  size_t size= ENTRY_FIRST;
  int error;
  snprintf(user->home, sizeof user->home, "/nonexistent");
  snprintf(user->name, sizeof user->name, "%lu", (unsigned long) uid);
  user->uid= uid;
  /* A user in no database has no group that we know of: it gets the group that nobody is in. */
  user->gid= (gid_t) -2;
  user->is_other= uid != geteuid();
  while ((error= look_up(uid, user, size)) == ERANGE || error == EINTR)
  {
    if (error == ERANGE && (size*= 2) > ENTRY_MAX)
      break;
  }
  if (means_absent(error))
    return true;
  snprintf(why, why_size, "cannot look up the server's user (id %lu) in the user database: %s", (unsigned long) uid,
           strerrordesc_np(error));
  return false;
}

uid_t environment_server_uid(bool is_backup)
{
  struct stat here;
  uid_t uid= geteuid();
  if (uid != 0 || !is_backup)
    return uid;
  return stat(".", &here) == 0 ? here.st_uid : uid;
}

static char *assignment(const char *name, const char *value)
{
  size_t size= strlen(name) + strlen(value) + 2;
  char *text= malloc(size);
  if (text)
    snprintf(text, size, "%s=%s", name, value);
  return text;
}

/*
  Adds the variables of the user. The inherited HOME may be root's, when the server was started by root and changed its
  user; the SDK would then look for credentials in a directory that the server's user cannot read.
*/
static bool add_user(char **environment, size_t count, const struct environment_user *user)
{
  char ids[32];
  snprintf(ids, sizeof ids, "%lu:%lu", (unsigned long) user->uid, (unsigned long) user->gid);
  const char *const pairs[][2]= {
    {"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
    {"HOME", user->home}, {"USER", user->name}, {"LOGNAME", user->name}, {"AKM_BECOME", ids},
  };
  /* AKM_BECOME, the last, is only for an agent that is to become another user. */
  size_t pair_count= sizeof pairs / sizeof pairs[0] - (user->is_other ? 0 : 1);
  for (size_t i= 0; i < pair_count; i++)
    if (!(environment[count + i]= assignment(pairs[i][0], pairs[i][1])))
      return false;
  return true;
}

static bool fill(char **environment, char *const *inherited, const struct environment_user *user)
{
  size_t count= 0;
  for (char *const *each= inherited; *each; each++)
  {
    if (!is_passed_on(*each))
      continue;
    if (!(environment[count++]= strdup(*each)))
      return false;
  }
  return add_user(environment, count, user);
}

char **environment_create(char *const *inherited, const struct environment_user *user)
{
  size_t most= 6;
  for (char *const *each= inherited; *each; each++)
    most++;
  char **environment= calloc(most, sizeof *environment);
  if (!environment || fill(environment, inherited, user))
    return environment;
  environment_free(environment);
  return NULL;
}

void environment_free(char **environment)
{
  if (!environment)
    return;
  for (char **each= environment; *each; each++)
  {
    explicit_bzero(*each, strlen(*each));
    free(*each);
  }
  free(environment);
}
