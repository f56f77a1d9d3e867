// SPDX-License-Identifier: GPL-2.0-only
#include "spawn.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "connect.h"
#include "test.h"

static const char *value_of(char **environment, const char *name)
{
  size_t size= strlen(name);
  for (char **each= environment; *each; each++)
    if (strncmp(*each, name, size) == 0 && (*each)[size] == '=')
      return *each + size + 1;
  return NULL;
}

static void environment_is_an_allow_list(void)
{
  char *const inherited[]= {
    (char[]) {"AWS_ACCESS_KEY_ID=a"}, (char[]) {"AWS_="}, (char[]) {"XAWS_X=1"}, (char[]) {"LD_PRELOAD=x"},
    (char[]) {"LD_LIBRARY_PATH=x"}, (char[]) {"NODE_OPTIONS=x"}, (char[]) {"HOME=/inherited"}, (char[]) {"PATH=/evil"},
    (char[]) {"https_proxy=p"}, (char[]) {"HTTPS_PROXYX=p"}, (char[]) {"TZ=UTC"}, (char[]) {"broken"},
    (char[]) {"SSL_CERT_FILE=/c"}, (char[]) {"MYSQL_PWD=x"}, NULL,
  };
  char **environment= spawn_environment(inherited);
  CHECK(environment != NULL);
  if (!environment)
    return;
  CHECK(value_of(environment, "AWS_ACCESS_KEY_ID") && value_of(environment, "https_proxy"));
  CHECK(value_of(environment, "TZ") && value_of(environment, "SSL_CERT_FILE"));
  CHECK(!value_of(environment, "AWS_") && !value_of(environment, "XAWS_X") && !value_of(environment, "LD_PRELOAD"));
  CHECK(!value_of(environment, "LD_LIBRARY_PATH") && !value_of(environment, "NODE_OPTIONS"));
  CHECK(!value_of(environment, "HTTPS_PROXYX") && !value_of(environment, "MYSQL_PWD"));
  CHECK(value_of(environment, "HOME") && strcmp(value_of(environment, "HOME"), "/inherited") != 0);
  CHECK(value_of(environment, "PATH") && strcmp(value_of(environment, "PATH"), "/evil") != 0);
  CHECK(value_of(environment, "USER") && value_of(environment, "LOGNAME"));
  spawn_environment_free(environment);
}

static void missing_agent_is_named(void)
{
  char why[512]= "";
  int fd= -1;
  pid_t child= 0;
  CHECK(!spawn_agent("/nonexistent/agent", &fd, &child, why, sizeof why));
  CHECK(strstr(why, "'/nonexistent/agent'") && strstr(why, "No such file"));
  CHECK(fd == -1);
}

static void exit_status_is_told(void)
{
  char why[512];
  int fd, detail= -1;
  pid_t child;
  CHECK(spawn_agent("/bin/false", &fd, &child, why, sizeof why));
  CHECK(spawn_wait(child, 5000, &detail) == SPAWN_EXITED && detail == 1);
  close(fd);
}

static void killed_child_is_reaped(void)
{
  char why[512];
  int fd, detail= -1;
  pid_t child;
  CHECK(spawn_agent("/usr/bin/yes", &fd, &child, why, sizeof why));
  close(fd);
  enum spawn_end end= spawn_kill(child, &detail);
  CHECK(end == SPAWN_SIGNALLED && detail == SIGKILL);
}

static void connect_tells_the_cases_apart(void)
{
  char why[512], directory[]= "/tmp/akm-test-XXXXXX", path[64], longer[200];
  int fd= -1;
  CHECK(mkdtemp(directory) != NULL);
  snprintf(path, sizeof path, "%s/s", directory);
  CHECK(connect_agent(path, &fd, why, sizeof why) == CONNECT_LATER && strstr(why, "no such socket"));
  CHECK(connect_agent(directory, &fd, why, sizeof why) == CONNECT_REFUSED && strstr(why, "is not a socket"));
  CHECK(connect_agent("relative", &fd, why, sizeof why) == CONNECT_REFUSED);
  memset(longer, 'a', sizeof longer);
  longer[0]= '/';
  longer[108]= 0;
  CHECK(connect_agent(longer, &fd, why, sizeof why) == CONNECT_REFUSED && strstr(why, "107"));

  struct sockaddr_un address= {.sun_family= AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
  int listener= socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(bind(listener, (const struct sockaddr *) &address, sizeof address) == 0);
  CHECK(connect_agent(path, &fd, why, sizeof why) == CONNECT_LATER && strstr(why, "nobody accepts"));
  CHECK(listen(listener, 1) == 0);
  CHECK(connect_agent(path, &fd, why, sizeof why) == CONNECT_DONE);
  close(fd);
  close(listener);
  CHECK(connect_agent(path, &fd, why, sizeof why) == CONNECT_LATER);
  unlink(path);
  rmdir(directory);
}

void spawn_tests(void)
{
  TEST(environment_is_an_allow_list);
  TEST(missing_agent_is_named);
  TEST(exit_status_is_told);
  TEST(killed_child_is_reaped);
  TEST(connect_tells_the_cases_apart);
}
