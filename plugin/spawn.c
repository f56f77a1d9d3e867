// SPDX-License-Identifier: GPL-2.0-only
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define AGENT_FD 3

extern char **environ;

static const char *const passed_on[]= {
  "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
  "SSL_CERT_FILE", "SSL_CERT_DIR", "TZ", "LANG", "LC_ALL",
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

static char *assignment(const char *name, const char *value)
{
  size_t size= strlen(name) + strlen(value) + 2;
  char *text= malloc(size);
  if (text)
    snprintf(text, size, "%s=%s", name, value);
  return text;
}

/*
  The inherited HOME may be root's, when the server was started by root and changed its user; the SDK would then look
  for credentials in a directory that the server's user cannot read.
*/
static bool add_user(char **environment, size_t *count)
{
  char space[4096];
  char number[24];
  struct passwd entry, *found= NULL;
  uid_t uid= geteuid();
  snprintf(number, sizeof number, "%lu", (unsigned long) uid);
  if (getpwuid_r(uid, &entry, space, sizeof space, &found))
    found= NULL;
  const char *home= found && entry.pw_dir && entry.pw_dir[0] ? entry.pw_dir : "/nonexistent";
  const char *name= found && entry.pw_name ? entry.pw_name : number;
  const char *const pairs[][2]= {
    {"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
    {"HOME", home}, {"USER", name}, {"LOGNAME", name},
  };
  for (size_t i= 0; i < sizeof pairs / sizeof pairs[0]; i++)
  {
    if (!(environment[*count]= assignment(pairs[i][0], pairs[i][1])))
      return false;
    ++*count;
  }
  return true;
}

char **spawn_environment(char *const *inherited)
{
  size_t most= 5, count= 0;
  for (char *const *each= inherited; *each; each++)
    most++;
  char **environment= calloc(most, sizeof *environment);
  if (!environment)
    return NULL;
  for (char *const *each= inherited; *each; each++)
  {
    if (!is_passed_on(*each))
      continue;
    if (!(environment[count]= strdup(*each)))
    {
      spawn_environment_free(environment);
      return NULL;
    }
    count++;
  }
  if (!add_user(environment, &count))
  {
    spawn_environment_free(environment);
    return NULL;
  }
  return environment;
}

void spawn_environment_free(char **environment)
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

/* 0 or an errno. The order matters: descriptor 3 first, since the socket itself may be 0, 1 or 2. */
static int file_actions(posix_spawn_file_actions_t *actions, int socket)
{
  int error= posix_spawn_file_actions_adddup2(actions, socket, AGENT_FD);
  if (!error)
    error= posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  /* Standard output may be where mariadb-backup streams the backup to. */
  if (!error && socket != STDERR_FILENO && fcntl(STDERR_FILENO, F_GETFD) != -1)
    error= posix_spawn_file_actions_adddup2(actions, STDERR_FILENO, STDOUT_FILENO);
  else if (!error)
  {
    error= posix_spawn_file_actions_addopen(actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (!error)
      error= posix_spawn_file_actions_addopen(actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  }
  if (!error)
    error= posix_spawn_file_actions_addclosefrom_np(actions, AGENT_FD + 1);
  return error;
}

static int attributes(posix_spawnattr_t *attr)
{
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  int error= posix_spawnattr_setsigmask(attr, &none);
  if (!error)
    error= posix_spawnattr_setsigdefault(attr, &all);
  if (!error)
    error= posix_spawnattr_setpgroup(attr, 0);
  if (!error)
    error= posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  return error;
}

static int start(const char *path, int socket, pid_t *child)
{
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attr;
  int error= posix_spawn_file_actions_init(&actions);
  if (error)
    return error;
  if ((error= posix_spawnattr_init(&attr)))
  {
    posix_spawn_file_actions_destroy(&actions);
    return error;
  }
  char **environment= spawn_environment(environ);
  char verb[]= "agent";
  char *name= strdup(path);
  if (!environment || !name)
    error= ENOMEM;
  if (!error)
    error= file_actions(&actions, socket);
  if (!error)
    error= attributes(&attr);
  if (!error)
    error= posix_spawn(child, path, &actions, &attr, (char *[]) {name, verb, NULL}, environment);
  spawn_environment_free(environment);
  free(name);
  posix_spawnattr_destroy(&attr);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

/*
  No core dump of the agent. A limit of 1 byte also keeps the kernel from feeding a pipe handler (core(5): "a resource
  limit of 1"), which a limit of 0 does not; where the hard limit is 0 already it cannot be raised.
*/
static void forbid_core(pid_t child)
{
  struct rlimit one= {1, 1}, zero= {0, 0};
  if (prlimit(child, RLIMIT_CORE, &one, NULL))
    (void) prlimit(child, RLIMIT_CORE, &zero, NULL);
}

bool spawn_agent(const char *path, int *fd, pid_t *child, char *why, size_t why_size)
{
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
  {
    snprintf(why, why_size, "cannot start the agent '%s': socketpair: %s", path, strerrordesc_np(errno));
    return false;
  }
  int error= fcntl(pair[0], F_SETFL, O_NONBLOCK) ? errno : start(path, pair[1], child);
  close(pair[1]);
  if (error)
  {
    close(pair[0]);
    snprintf(why, why_size, "cannot start the agent '%s': %s", path, strerrordesc_np(error));
    return false;
  }
  forbid_core(*child);
  *fd= pair[0];
  return true;
}

static enum spawn_end ended(int status, int *detail)
{
  if (WIFEXITED(status))
  {
    *detail= WEXITSTATUS(status);
    return SPAWN_EXITED;
  }
  *detail= WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  return SPAWN_SIGNALLED;
}

enum spawn_end spawn_wait(pid_t child, int limit_ms, int *detail)
{
  for (int waited= 0;; waited+= 10)
  {
    int status;
    pid_t got= waitpid(child, &status, WNOHANG);
    if (got == child)
      return ended(status, detail);
    if (got == -1 && errno != EINTR)
      return SPAWN_UNKNOWN;
    if (waited >= limit_ms)
      return SPAWN_RUNNING;
    nanosleep(&(struct timespec) {.tv_nsec= 10 * 1000 * 1000}, NULL);
  }
}

enum spawn_end spawn_kill(pid_t child, int *detail)
{
  /* Not reaped yet, so neither its number nor its group's can belong to anyone else. */
  kill(-child, SIGKILL);
  kill(child, SIGKILL);
  return spawn_wait(child, 2000, detail);
}
