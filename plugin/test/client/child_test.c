// SPDX-License-Identifier: GPL-2.0-only
/* Agents that are child processes: copies of the test program, each doing what its name says. */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/client/fake_agent.h"
#include "client/spawn.h"
#include "test/test.h"

#define LIBC_SIGNALS 0x180000000ull     /* glibc keeps 32 and 33 for itself */

char child_server[64];

static char directory[]= "/tmp/akm-test-XXXXXX", reporter[64];

/* Reports signal masks, process group and descriptors of this process, as one line to descriptor 3. */
static void report(void)
{
  char line[256], text[4096]= "", where[PATH_MAX];
  size_t used= 0;
  FILE *file= fopen("/proc/self/status", "r");
  while (file && fgets(line, sizeof line, file))
    if (strncmp(line, "SigBlk:", 7) == 0 || strncmp(line, "SigIgn:", 7) == 0)
      used+= (size_t) snprintf(text + used, sizeof text - used, "%.6s=%llx ", line,
                               strtoull(line + 7, NULL, 16) & ~LIBC_SIGNALS);
  if (file)
    fclose(file);
  used+= (size_t) snprintf(text + used, sizeof text - used, "leader=%d", getpgrp() == getpid());
  for (int fd= 0; fd < 64; fd++)
  {
    snprintf(line, sizeof line, "/proc/self/fd/%d", fd);
    ssize_t size= readlink(line, where, sizeof where - 1);
    if (size <= 0)
      continue;
    where[size]= 0;
    used+= (size_t) snprintf(text + used, sizeof text - used, " %d:%.40s", fd, where);
  }
  if (write(3, text, used) == -1)
    _exit(2);
}

int child_main(const char *name)
{
  if (strstr(name, "/report"))
    report();
  else
    fake_serve(3);
  return 0;
}

/* Reads the report into text. */
static bool read_report(char *text, size_t size)
{
  const struct environment_user user= {.home= "/", .name= "x"};
  int fd, detail= -1;
  pid_t child= 0;
  size_t used= 0;
  if (spawn_agent(reporter, &user, &fd, &child))
    return false;
  bool good= spawn_wait(child, 10000, &detail) == SPAWN_EXITED && detail == 0;
  for (ssize_t count; used + 1 < size && (count= read(fd, text + used, size - 1 - used)) > 0;)
    used+= (size_t) count;
  text[used]= 0;
  close(fd);
  return good;
}

static void child_starts_with_a_clean_slate(void)
{
  char text[4096]= "";
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR2);
  sigprocmask(SIG_BLOCK, &blocked, &before);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGUSR1, SIG_IGN);
  /* Descriptors that a server opened without close-on-exec. */
  int open_file= open("/etc/passwd", O_RDONLY), other= fcntl(open_file, F_DUPFD, 40);
  CHECK(read_report(text, sizeof text));
  close(open_file);
  close(other);
  signal(SIGPIPE, SIG_DFL);
  signal(SIGUSR1, SIG_DFL);
  sigprocmask(SIG_SETMASK, &before, NULL);
  CHECK(strstr(text, "SigBlk=0 SigIgn=0 leader=1 0:/dev/null 1:"));
  CHECK(strstr(text, " 3:socket:") && !strstr(text, "/etc/passwd"));
  const char *last= strrchr(text, ' ');
  CHECK(last && strncmp(last, " 3:", 3) == 0);
}

/*
  Reports from an agent that was started with some of 0 to 3 closed, where a socket pair would get those numbers. Runs in a
  process of its own.
*/
static int report_without(int first, int last)
{
  char text[4096]= "";
  for (int fd= first; fd <= last; fd++)
    close(fd);
  if (!read_report(text, sizeof text))
    return 1;
  return strstr(text, " 0:/dev/null 1:/dev/null 2:/dev/null 3:socket:") ? 0 : 2;
}

static void low_descriptors_may_be_closed(void)
{
  static const int ranges[][2]= {{2, 2}, {0, 2}, {0, 3}, {1, 2}, {2, 3}};
  for (size_t i= 0; i < sizeof ranges / sizeof ranges[0]; i++)
  {
    int status= -1;
    pid_t child= fork();
    if (child == 0)
      _exit(report_without(ranges[i][0], ranges[i][1]));
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
}

/* Opens files in a process that has 0 to 2 closed; none may be below 4. */
static int lowest_of_client(void)
{
  close(0);
  close(1);
  close(2);
  struct failure failure;
  const struct client_config config= {.target= child_server, .start_timeout_ms= 1000, .table= &fake.table};
  struct client *client= client_create(&config, &failure);
  return client && client->wake_fd > 3 ? 0 : 1;
}

static void descriptors_of_the_client_are_high(void)
{
  int status= -1;
  pid_t child= fork();
  if (child == 0)
    _exit(lowest_of_client());
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void killed_child_is_reaped(void)
{
  const struct environment_user user= {.home= "/", .name= "x"};
  int fd, detail= -1;
  pid_t child= 0;
  CHECK(spawn_agent(child_server, &user, &fd, &child) == 0);
  CHECK(spawn_wait(child, 100, &detail) == SPAWN_RUNNING);
  CHECK(spawn_kill(child, &detail) == SPAWN_SIGNALLED && detail == SIGKILL);
  close(fd);
}

void child_tests(void)
{
  char self[PATH_MAX];
  ssize_t size= readlink("/proc/self/exe", self, sizeof self - 1);
  if (size <= 0 || !mkdtemp(directory))
    abort();
  self[size]= 0;
  snprintf(reporter, sizeof reporter, "%s/report", directory);
  snprintf(child_server, sizeof child_server, "%s/serve", directory);
  if (symlink(self, reporter) || symlink(self, child_server))
    abort();
  TEST(child_starts_with_a_clean_slate);
  TEST(low_descriptors_may_be_closed);
  TEST(descriptors_of_the_client_are_high);
  TEST(killed_child_is_reaped);
  leaving_tests();
  unlink(reporter);
  unlink(child_server);
  rmdir(directory);
}
