// SPDX-License-Identifier: GPL-2.0-only
/* Ends of agents that are children of the client, and what is reported of them. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "test/client/fake_agent.h"
#include "client/link.h"
#include "client/spawn.h"
#include "test/test.h"

static struct client *start_child(void)
{
  struct failure failure;
  struct client *client= fake_client_of(child_server, 20000, false);
  CHECK(client_start(client, &failure) && client_open(client, 1));
  return client;
}

/* Signals the child, but never process 0, which would be the tests and whoever started them. */
static void signal_child(const struct client *client, int signal_number)
{
  pid_t child= client->io.child;
  CHECK(child > 0);
  if (child > 0)
    kill(child, signal_number);
}

static void wait_for_state(struct client *client, enum agent_state state)
{
  struct client_status status;
  int64_t until= clock_ms() + 5000;
  do
  {
    client_get_status(client, &status);
    usleep(5000);
  } while (status.state != state && clock_ms() < until);
  CHECK(status.state == state);
}

static void idle_agent_may_be_told_to_end(void)
{
  struct client *client= start_child();
  signal_child(client, SIGTERM);
  wait_for_state(client, AGENT_IDLE);
  CHECK(fake_logged() == 0 && client_open(client, 2));
  fake_destroy(client);
}

static void idle_agent_that_crashes_is_told(void)
{
  struct client *client= start_child();
  signal_child(client, SIGKILL);
  wait_for_state(client, AGENT_IDLE);
  CHECK(client_open(client, 2) && fake_has_logged("the agent ended (signal 9, Killed)"));
  fake_destroy(client);
}

static void *open_silent(void *client)
{
  CHECK(!client_open(client, SILENT));
  return NULL;
}

/* Kills the agent each time that a request is pending. */
static void crash_while_asked(struct client *client, int signal_number)
{
  pthread_t opener;
  struct client_status status;
  CHECK(pthread_create(&opener, NULL, open_silent, client) == 0);
  for (uint64_t start= 1; start <= 2; start++)
  {
    usleep(300 * 1000);
    client_get_status(client, &status);
    if (status.starts == start && status.state == AGENT_RUNNING)
      signal_child(client, signal_number);
  }
  pthread_join(opener, NULL);
}

static void agent_told_to_end_while_asked_is_told(void)
{
  struct client *client= start_child();
  crash_while_asked(client, SIGTERM);
  CHECK(client_open(client, 2));
  CHECK(fake_has_logged("the agent ended (signal 15, Terminated); loaded keys stay in use"));
  fake_destroy(client);
}

/* With SIGCHLD ignored the kernel reaps our children, and nobody can tell how they ended. */
static void crash_is_told_although_sigchld_is_ignored(void)
{
  struct client *client= start_child();
  signal(SIGCHLD, SIG_IGN);
  signal_child(client, SIGTERM);
  wait_for_state(client, AGENT_IDLE);
  CHECK(fake_logged() == 0 && client_open(client, 2));
  fake_destroy(client);
  client= start_child();
  crash_while_asked(client, SIGKILL);
  CHECK(client_open(client, 2) && fake_has_logged("the agent ended; loaded keys stay in use"));
  fake_destroy(client);
  signal(SIGCHLD, SIG_DFL);
}

/* A child that ends later stands for one that did not end when it was killed. */
static void child_is_reaped_later(void)
{
  const struct environment_user user= {.home= "/", .name= "x"};
  siginfo_t info;
  int fd;
  pid_t child= 0;
  struct failure failure;
  struct client *client= fake_client_of(child_server, 20000, false);
  CHECK(spawn_agent("/bin/false", &user, &fd, &child) == 0);
  close(fd);
  CHECK(waitid(P_PID, (id_t) child, &info, WEXITED | WNOWAIT) == 0);
  link_reap_later(&client->io, child);
  CHECK(client_start(client, &failure));
  CHECK(waitpid(child, NULL, WNOHANG) == -1 && errno == ECHILD);
  fake_destroy(client);
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
  struct client *client= start_child();
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
  fake_destroy(client);
}

static void agent_that_cannot_start_is_told(void)
{
  struct failure failure;
  struct client_status status;
  struct rlimit files, few;
  struct client *client= fake_client_of("/nonexistent/agent", 1000, false);
  CHECK(!client_start(client, &failure) && strstr(failure.message, "'/nonexistent/agent': No such file"));
  CHECK(strstr(failure.hint, "install the package again"));
  client_get_status(client, &status);
  CHECK(status.state == AGENT_FAILED && status.starts == 0);
  fake_destroy(client);

  client= fake_client_of(child_server, 1000, false);
  CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0);
  few= files;
  few.rlim_cur= (rlim_t) client->wake_fd + 1;
  CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
  CHECK(!client_start(client, &failure));
  CHECK(setrlimit(RLIMIT_NOFILE, &files) == 0);
  CHECK(strstr(failure.message, "Too many open files") && strstr(failure.hint, "raise LimitNOFILE"));
  fake_destroy(client);
}

void leaving_tests(void)
{
  TEST(idle_agent_may_be_told_to_end);
  TEST(idle_agent_that_crashes_is_told);
  TEST(agent_told_to_end_while_asked_is_told);
  TEST(crash_is_told_although_sigchld_is_ignored);
  TEST(child_is_reaped_later);
  TEST(thread_leaves_signals_to_the_server_but_its_own);
  if (!UNDER_VALGRIND)
    TEST(agent_that_cannot_start_is_told);
}
