// SPDX-License-Identifier: GPL-2.0-only
#include "client/connect.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/descriptor.h"

enum connect_result connect_failed(const char *path, int error, char *why, size_t why_size)
{
  switch (error)
  {
  case ENOENT:
    snprintf(why, why_size, "no agent listens on '%s': there is no such socket", path);
    return CONNECT_LATER;
  case ECONNREFUSED:
    snprintf(why, why_size, "no agent listens on '%s': the socket is there but nobody accepts", path);
    return CONNECT_LATER;
  case EAGAIN:
    snprintf(why, why_size, "the agent on '%s' does not accept connections", path);
    return CONNECT_LATER;
  case EACCES:
  case EPERM:
    snprintf(why, why_size, "user id %lu may not connect to '%s': permission denied", (unsigned long) geteuid(), path);
    return CONNECT_DENIED;
  default:
    snprintf(why, why_size, "cannot connect to '%s': %s", path, strerrordesc_np(error));
    return CONNECT_REFUSED;
  }
}

/* Writes the directory of an absolute path of at most CONNECT_PATH_MAX bytes. */
static void directory_of(const char *path, char directory[CONNECT_PATH_MAX + 1])
{
  const char *slash= strrchr(path, '/');
  size_t size= slash == path ? 1 : (size_t) (slash - path);
  memcpy(directory, path, size);
  directory[size]= 0;
}

static bool directory_owner(const char *path, uid_t *owner)
{
  char directory[CONNECT_PATH_MAX + 1];
  struct stat info;
  directory_of(path, directory);
  if (stat(directory, &info))
    return false;
  *owner= info.st_uid;
  return true;
}

void connect_denied_hint(const char *path, bool is_backup, char *hint, size_t hint_size)
{
  char directory[CONNECT_PATH_MAX + 1], facts[80]= "";
  struct stat info;
  directory_of(path, directory);
  if (faccessat(AT_FDCWD, directory, X_OK, AT_EACCESS) == 0)
  {
    snprintf(hint, hint_size, "look at the mode of the socket, and at SELinux or AppArmor");
    return;
  }
  if (stat(directory, &info) == 0)
    snprintf(facts, sizeof facts, " (group id %lu, mode %04o)", (unsigned long) info.st_gid, info.st_mode & 07777u);
  snprintf(hint, hint_size, is_backup ? "run it as root or as the server's user, or add this user to the group that owns %s%s"
           : "add the server's user to the group that owns %s%s, and restart the server", directory, facts);
}

bool connect_trusts(uid_t peer, uid_t own, const uid_t *owner)
{
  return peer == 0 || peer == own || (owner && peer == *owner);
}

static bool trusted(const char *path, int fd, char *why, size_t why_size)
{
  struct ucred peer;
  socklen_t size= sizeof peer;
  uid_t owner;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) || size != sizeof peer)
  {
    snprintf(why, why_size, "cannot tell who listens on '%s': %s", path, strerrordesc_np(errno));
    return false;
  }
  bool owned= directory_owner(path, &owner);
  if (connect_trusts(peer.uid, geteuid(), owned ? &owner : NULL))
    return true;
  snprintf(why, why_size,
           "refused the agent on '%s': it runs as user id %lu, expected 0, our own %lu, or %ld who owns its directory",
           path, (unsigned long) peer.uid, (unsigned long) geteuid(), owned ? (long) owner : -1L);
  return false;
}

enum connect_result connect_agent(const char *path, int *fd, char *why, size_t why_size)
{
  struct sockaddr_un address= {.sun_family= AF_UNIX};
  struct stat info;
  size_t size= strlen(path);
  if (size > CONNECT_PATH_MAX || path[0] != '/')
  {
    snprintf(why, why_size, "'%s' is not an absolute path of at most %u bytes", path, CONNECT_PATH_MAX);
    return CONNECT_REFUSED;
  }
  if (lstat(path, &info))
    return connect_failed(path, errno, why, why_size);
  if (!S_ISSOCK(info.st_mode))
  {
    snprintf(why, why_size, "'%s' is not a socket", path);
    return CONNECT_REFUSED;
  }
  memcpy(address.sun_path, path, size + 1);
  int socket_fd= descriptor_high(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (socket_fd == -1)
  {
    snprintf(why, why_size, "cannot connect to '%s': socket: %s", path, strerrordesc_np(errno));
    return CONNECT_REFUSED;
  }
  int result;
  do
    result= connect(socket_fd, (const struct sockaddr *) &address, sizeof address);
  while (result && errno == EINTR);
  if (result)
  {
    int error= errno;
    close(socket_fd);
    return connect_failed(path, error, why, why_size);
  }
  if (!trusted(path, socket_fd, why, why_size))
  {
    close(socket_fd);
    return CONNECT_REFUSED;
  }
  *fd= socket_fd;
  return CONNECT_DONE;
}
