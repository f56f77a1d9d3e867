// SPDX-License-Identifier: GPL-2.0-only
#include "client/spawn.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/connect.h"
#include "test/test.h"

static const struct environment_user nobody= {.home= "/home/x", .name= "x"};

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
  char **environment= environment_create(inherited, &nobody);
  CHECK(environment != NULL);
  if (!environment)
    return;
  CHECK(value_of(environment, "AWS_ACCESS_KEY_ID") && value_of(environment, "https_proxy"));
  CHECK(value_of(environment, "TZ") && value_of(environment, "SSL_CERT_FILE"));
  CHECK(!value_of(environment, "AWS_") && !value_of(environment, "XAWS_X") && !value_of(environment, "LD_PRELOAD"));
  CHECK(!value_of(environment, "LD_LIBRARY_PATH") && !value_of(environment, "NODE_OPTIONS"));
  CHECK(!value_of(environment, "HTTPS_PROXYX") && !value_of(environment, "MYSQL_PWD"));
  CHECK(value_of(environment, "HOME") && strcmp(value_of(environment, "HOME"), "/home/x") == 0);
  CHECK(value_of(environment, "PATH") && strcmp(value_of(environment, "PATH"), "/evil") != 0);
  CHECK(value_of(environment, "USER") && strcmp(value_of(environment, "LOGNAME"), "x") == 0);
  environment_free(environment);
}

static void user_without_an_entry_has_no_home(void)
{
  struct environment_user user;
  char why[256]= "";
  CHECK(environment_user(0, &user, why, sizeof why) && user.home[0] == '/' && strcmp(user.name, "root") == 0);
  CHECK(environment_user(1999999999, &user, why, sizeof why) && why[0] == 0);
  CHECK(strcmp(user.home, "/nonexistent") == 0 && strcmp(user.name, "1999999999") == 0);
}

static void failed_start_has_a_fitting_hint(void)
{
  int fd= -1;
  pid_t child= 0;
  CHECK(spawn_agent("/nonexistent/agent", &nobody, &fd, &child) == ENOENT && fd == -1 && child == 0);
  CHECK(strcmp(spawn_hint(ENOENT), "install the package again, or correct aws_key_management_agent") == 0);
  CHECK(strstr(spawn_hint(EACCES), "the file is there") && strstr(spawn_hint(ENOEXEC), "the file is there"));
  static const int exhausted[]= {EMFILE, ENFILE, EAGAIN, ENOMEM};
  for (size_t i= 0; i < 4; i++)
    CHECK(strstr(spawn_hint(exhausted[i]), "LimitNOFILE, TasksMax or the memory of the server"));
}

static void exit_status_is_told(void)
{
  int fd, detail= -1;
  pid_t child= 0;
  CHECK(spawn_agent("/bin/false", &nobody, &fd, &child) == 0);
  CHECK(spawn_wait(child, 5000, &detail) == SPAWN_EXITED && detail == 1);
  close(fd);
}

static void child_that_has_ended_keeps_its_status(void)
{
  int fd, detail= -1;
  pid_t child= 0;
  siginfo_t info;
  CHECK(spawn_agent("/bin/false", &nobody, &fd, &child) == 0);
  CHECK(waitid(P_PID, (id_t) child, &info, WEXITED | WNOWAIT) == 0);
  CHECK(spawn_kill(child, &detail) == SPAWN_EXITED && detail == 1);
  close(fd);
}

/* A process that is not our child stands for a stranger that got the number of one. */
static void number_of_a_stranger_is_not_killed(void)
{
  int detail= -1, fds[2];
  char byte;
  pid_t stranger= -1;
  CHECK(pipe(fds) == 0);
  pid_t parent= fork();
  if (parent == 0)
  {
    pid_t grandchild= fork();
    if (grandchild == 0)
    {
      setpgid(0, 0);
      pid_t self= getpid();
      if (write(fds[1], &self, sizeof self) == sizeof self)
        sleep(5);
      _exit(write(fds[1], "x", 1) == 1 ? 0 : 1);
    }
    _exit(0);
  }
  CHECK(waitpid(parent, NULL, 0) == parent && read(fds[0], &stranger, sizeof stranger) == sizeof stranger);
  close(fds[1]);
  CHECK(stranger > 0);
  if (stranger > 0)
  {
    CHECK(spawn_kill(stranger, &detail) == SPAWN_UNKNOWN && kill(stranger, 0) == 0);
    kill(stranger, SIGTERM);
    CHECK(read(fds[0], &byte, 1) == 0);
  }
  close(fds[0]);
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

static void missing_permission_is_told_with_its_cure(void)
{
  char why[512], hint[512];
  CHECK(connect_failed("/s", EACCES, why, sizeof why) == CONNECT_DENIED && strstr(why, "permission denied"));
  CHECK(connect_failed("/s", EPERM, why, sizeof why) == CONNECT_DENIED);
  connect_denied_hint("/s", false, hint, sizeof hint);
  CHECK(strcmp(hint, "look at the mode of the socket, and at SELinux or AppArmor") == 0);
  connect_denied_hint("/nowhere/s", true, hint, sizeof hint);
  CHECK(strcmp(hint, "run it as root or as the server's user, or add this user to the group that owns /nowhere") == 0);
  CHECK(connect_failed("/s", EPROTOTYPE, why, sizeof why) == CONNECT_REFUSED);
}

static void agent_of_root_of_us_and_of_the_owner_is_trusted(void)
{
  const uid_t owner= 300;
  CHECK(connect_trusts(0, 100, NULL) && connect_trusts(100, 100, NULL) && connect_trusts(300, 100, &owner));
  CHECK(!connect_trusts(200, 100, NULL) && !connect_trusts(200, 100, &owner) && !connect_trusts(300, 0, NULL));
}

void spawn_tests(void)
{
  TEST(environment_is_an_allow_list);
  TEST(user_without_an_entry_has_no_home);
  if (!UNDER_VALGRIND)
    TEST(failed_start_has_a_fitting_hint);
  TEST(exit_status_is_told);
  TEST(child_that_has_ended_keeps_its_status);
  TEST(number_of_a_stranger_is_not_killed);
  TEST(connect_tells_the_cases_apart);
  TEST(missing_permission_is_told_with_its_cure);
  TEST(agent_of_root_of_us_and_of_the_owner_is_trusted);
}
