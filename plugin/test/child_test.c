// SPDX-License-Identifier: GPL-2.0-only
/*
  Agents that are child processes: copies of the test program, which do what the name says that they are started under.
*/
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "fake_agent.h"
#include "spawn.h"
#include "test.h"

#define LIBC_SIGNALS 0x180000000ull     /* 32 and 33, which glibc keeps for itself */

static char directory[]= "/tmp/akm-test-XXXXXX", reporter[64], server[64];

/* Signal masks, process group and descriptors of this process, as one line to descriptor 3. */
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

/* What the reporter says, in text. */
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
  /* What a server opens without close-on-exec. */
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

/* With 2 closed, and then 0 to 3, a socket pair lands there. Runs in a process of its own. */
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
  struct agent_failure failure;
  const struct agent_config config= {.target= server, .start_timeout_ms= 1000, .table= &fake.table};
  struct agent *agent= agent_create(&config, &failure);
  return agent && agent->wake_fd > 3 ? 0 : 1;
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
  CHECK(spawn_agent(server, &user, &fd, &child) == 0);
  CHECK(spawn_wait(child, 100, &detail) == SPAWN_RUNNING);
  CHECK(spawn_kill(child, &detail) == SPAWN_SIGNALLED && detail == SIGKILL);
  close(fd);
}

static struct agent *start_child(void)
{
  struct agent_failure failure;
  struct agent *agent= fake_client_of(server, 20000, false);
  CHECK(agent_start(agent, &failure) && agent_open(agent, 1));
  return agent;
}

/* Never to 0, which would be the tests and whoever started them. */
static void signal_child(const struct agent *agent, int signal_number)
{
  pid_t child= agent->io.child;
  CHECK(child > 0);
  if (child > 0)
    kill(child, signal_number);
}

static void wait_for_state(struct agent *agent, enum agent_state state)
{
  struct agent_status status;
  int64_t until= clock_ms() + 5000;
  do
  {
    agent_get_status(agent, &status);
    usleep(5000);
  } while (status.state != state && clock_ms() < until);
  CHECK(status.state == state);
}

static void idle_agent_may_be_told_to_end(void)
{
  struct agent *agent= start_child();
  signal_child(agent, SIGTERM);
  wait_for_state(agent, AGENT_IDLE);
  CHECK(fake_logged() == 0 && agent_open(agent, 2));
  fake_destroy(agent);
}

static void idle_agent_that_crashes_is_told(void)
{
  struct agent *agent= start_child();
  signal_child(agent, SIGKILL);
  wait_for_state(agent, AGENT_IDLE);
  CHECK(agent_open(agent, 2) && fake_has_logged("the agent ended (signal 9, Killed)"));
  fake_destroy(agent);
}

static void *open_silent(void *agent)
{
  CHECK(!agent_open(agent, SILENT));
  return NULL;
}

/* Kills the agent while it is asked something, each time that it is. */
static void crash_while_asked(struct agent *agent, int signal_number)
{
  pthread_t opener;
  struct agent_status status;
  CHECK(pthread_create(&opener, NULL, open_silent, agent) == 0);
  for (uint64_t start= 1; start <= 2; start++)
  {
    usleep(300 * 1000);
    agent_get_status(agent, &status);
    if (status.starts == start && status.state == AGENT_RUNNING)
      signal_child(agent, signal_number);
  }
  pthread_join(opener, NULL);
}

static void agent_told_to_end_while_asked_is_told(void)
{
  struct agent *agent= start_child();
  crash_while_asked(agent, SIGTERM);
  CHECK(agent_open(agent, 2));
  CHECK(fake_has_logged("the agent ended (signal 15, Terminated); loaded keys stay in use"));
  fake_destroy(agent);
}

/* The kernel then reaps our children, and nobody can say how they ended. */
static void crash_is_told_although_sigchld_is_ignored(void)
{
  struct agent *agent= start_child();
  signal(SIGCHLD, SIG_IGN);
  signal_child(agent, SIGTERM);
  wait_for_state(agent, AGENT_IDLE);
  CHECK(fake_logged() == 0 && agent_open(agent, 2));
  fake_destroy(agent);
  agent= start_child();
  crash_while_asked(agent, SIGKILL);
  CHECK(agent_open(agent, 2) && fake_has_logged("the agent ended; loaded keys stay in use"));
  fake_destroy(agent);
  signal(SIGCHLD, SIG_DFL);
}

/* A child that did not end when it was killed: here one that ends later. */
static void child_is_reaped_later(void)
{
  const struct environment_user user= {.home= "/", .name= "x"};
  siginfo_t info;
  int fd;
  pid_t child= 0;
  struct agent_failure failure;
  struct agent *agent= fake_client_of(server, 20000, false);
  CHECK(spawn_agent("/bin/false", &user, &fd, &child) == 0);
  close(fd);
  CHECK(waitid(P_PID, (id_t) child, &info, WEXITED | WNOWAIT) == 0);
  link_reap_later(&agent->io, child);
  CHECK(agent_start(agent, &failure));
  CHECK(waitpid(child, NULL, WNOHANG) == -1 && errno == ECHILD);
  fake_destroy(agent);
}

static uint64_t blocked_signals(const char *thread)
{
  char path[300], line[256];
  unsigned long long mask= 0;
  snprintf(path, sizeof path, "/proc/self/task/%s/status", thread);
  FILE *file= fopen(path, "r");
  while (file && fgets(line, sizeof line, file))
    if (strncmp(line, "SigBlk:", 7) == 0)
      mask= strtoull(line + 7, NULL, 16);
  if (file)
    fclose(file);
  return mask;
}

static bool blocks(uint64_t mask, int signal)
{
  return mask >> (signal - 1) & 1;
}

static void thread_leaves_signals_to_the_server_but_its_own(void)
{
  struct agent *agent= start_child();
  DIR *threads= opendir("/proc/self/task");
  int found= 0;
  for (struct dirent *each; threads && (each= readdir(threads));)
  {
    uint64_t mask= blocked_signals(each->d_name);
    if (!blocks(mask, SIGTERM) || !blocks(mask, SIGALRM))
      continue;
    found++;
    CHECK(!blocks(mask, SIGSEGV) && !blocks(mask, SIGBUS) && !blocks(mask, SIGFPE) && !blocks(mask, SIGILL));
  }
  closedir(threads);
  CHECK(found == 1);
  fake_destroy(agent);
}

static void agent_that_cannot_start_is_told(void)
{
  struct agent_failure failure;
  struct agent_status status;
  struct rlimit files, few;
  struct agent *agent= fake_client_of("/nonexistent/agent", 1000, false);
  CHECK(!agent_start(agent, &failure) && strstr(failure.message, "'/nonexistent/agent': No such file"));
  CHECK(strstr(failure.hint, "check that the file is there"));
  agent_get_status(agent, &status);
  CHECK(status.state == AGENT_FAILED && status.starts == 0);
  fake_destroy(agent);

  agent= fake_client_of(server, 1000, false);
  CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0);
  few= files;
  few.rlim_cur= (rlim_t) agent->wake_fd + 1;
  CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
  CHECK(!agent_start(agent, &failure));
  CHECK(setrlimit(RLIMIT_NOFILE, &files) == 0);
  CHECK(strstr(failure.message, "Too many open files") && strstr(failure.hint, "raise LimitNOFILE"));
  fake_destroy(agent);
}

void child_tests(void)
{
  char self[PATH_MAX];
  ssize_t size= readlink("/proc/self/exe", self, sizeof self - 1);
  if (size <= 0 || !mkdtemp(directory))
    abort();
  self[size]= 0;
  snprintf(reporter, sizeof reporter, "%s/report", directory);
  snprintf(server, sizeof server, "%s/serve", directory);
  if (symlink(self, reporter) || symlink(self, server))
    abort();
  TEST(child_starts_with_a_clean_slate);
  TEST(low_descriptors_may_be_closed);
  TEST(descriptors_of_the_client_are_high);
  TEST(killed_child_is_reaped);
  TEST(idle_agent_may_be_told_to_end);
  TEST(idle_agent_that_crashes_is_told);
  TEST(agent_told_to_end_while_asked_is_told);
  TEST(crash_is_told_although_sigchld_is_ignored);
  TEST(child_is_reaped_later);
  TEST(thread_leaves_signals_to_the_server_but_its_own);
  TEST(agent_that_cannot_start_is_told);
  unlink(reporter);
  unlink(server);
  rmdir(directory);
}
