// SPDX-License-Identifier: GPL-2.0-only
#include "client/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/descriptor.h"

extern char **environ;

/*
  Sets up the descriptors of the child, returns 0 or an errno. The socket is above all descriptors that are overwritten
  here.
*/
static int file_actions(posix_spawn_file_actions_t *actions, int socket)
{
  int error= posix_spawn_file_actions_adddup2(actions, socket, DESCRIPTOR_AGENT);
  if (!error)
    error= posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  /* Standard output may be where mariadb-backup streams the backup to: the child gets standard error in its place. */
  if (!error && fcntl(STDERR_FILENO, F_GETFD) != -1)
    error= posix_spawn_file_actions_adddup2(actions, STDERR_FILENO, STDOUT_FILENO);
  else if (!error)
  {
    error= posix_spawn_file_actions_addopen(actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (!error)
      error= posix_spawn_file_actions_addopen(actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  }
  if (!error)
    error= posix_spawn_file_actions_addclosefrom_np(actions, DESCRIPTOR_AGENT + 1);
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

/*
  Returns whether memory may be written and executed here, and so in the child: systemd's MemoryDenyWriteExecute=,
  PR_SET_MDWE and SELinux without execmem forbid it. Tried once: SELinux notes each refusal in its log.
*/
static bool may_compile(void)
{
  static _Atomic int known;
  if (!known)
  {
    size_t size= (size_t) sysconf(_SC_PAGESIZE);
    void *page= mmap(NULL, size, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    known= page == MAP_FAILED ? -1 : 1;
    if (page != MAP_FAILED)
      (void) munmap(page, size);
  }
  return known > 0;
}

static int start(const char *path, const struct environment_user *user, int socket, pid_t *child)
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
  char **environment= environment_create(environ, user);
  char verb[]= "agent", compile[]= "--node-options=--no-jitless";
  char *name= strdup(path);
  if (!environment || !name)
    error= ENOMEM;
  if (!error)
    error= file_actions(&actions, socket);
  if (!error)
    error= attributes(&attr);
  if (!error)
    error= posix_spawn(child, path, &actions, &attr, (char *[]) {name, verb, may_compile() ? compile : NULL, NULL},
                       environment);
  environment_free(environment);
  free(name);
  posix_spawnattr_destroy(&attr);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

/*
  Forbids core dumps of the agent. A limit of 1 byte also keeps the kernel from feeding a pipe handler (core(5): "a resource
  limit of 1"), which a limit of 0 does not; where the hard limit is 0 already it cannot be raised.
*/
static void forbid_core(pid_t child)
{
  struct rlimit one= {1, 1}, zero= {0, 0};
  if (prlimit(child, RLIMIT_CORE, &one, NULL))
    (void) prlimit(child, RLIMIT_CORE, &zero, NULL);
}

/* Makes a socket pair, both ends close-on-exec and above the child's own descriptors. Returns 0 or an errno. */
static int socket_pair(int pair[2])
{
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
    return errno;
  for (int i= 0; i < 2; i++)
    if ((pair[i]= descriptor_high(pair[i])) == -1)
    {
      int error= errno;
      close(pair[1 - i]);
      return error;
    }
  return 0;
}

int spawn_agent(const char *path, const struct environment_user *user, int *fd, pid_t *child)
{
  int pair[2], error= socket_pair(pair);
  if (error)
    return error;
  error= fcntl(pair[0], F_SETFL, O_NONBLOCK) ? errno : start(path, user, pair[1], child);
  close(pair[1]);
  if (error)
  {
    close(pair[0]);
    return error;
  }
  forbid_core(*child);
  *fd= pair[0];
  return 0;
}

const char *spawn_hint(int error)
{
  switch (error)
  {
  case ENOENT:
  case ENOTDIR:
    return "install the package again, or correct aws_key_management_agent";
  case EACCES:
  case ENOEXEC:
  case ELOOP:
  case EISDIR:
    return "check that the file is there and that the server's user may run it, or set aws_key_management_agent";
  case EMFILE:
  case ENFILE:
  case EAGAIN:
  case ENOMEM:
    return "the server ran out of files, processes or memory: raise LimitNOFILE, TasksMax or the memory of the server";
  default:
    return "check aws_key_management_agent";
  }
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
  /* The number of a child that was reaped, by us or by a kernel that was told to ignore SIGCHLD, may be a stranger's. */
  enum spawn_end end= spawn_wait(child, 0, detail);
  if (end != SPAWN_RUNNING)
    return end;
  kill(-child, SIGKILL);
  return spawn_wait(child, 2000, detail);
}
