// SPDX-License-Identifier: GPL-2.0-only
/*
  Agents that end in every way, one after the other: none stays behind as a zombie, no descriptor is left open, and the log
  gets at most a line for each. The argument is their number. Built without sanitizers, for speed.
*/
#define TEST_SUFFIX ""
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "test/client/fake_agent.h"
#include "test/test.inc.h"

#define LONGEST_MS 20000
#define EXTRA_DESCRIPTORS 2             /* the eventfd, the socket */

static uint64_t wanted= 300;
static char directory[]= "/tmp/akm-test-XXXXXX", server[64];

int child_main(const char *name)
{
  (void) name;
  fake_serve(3);
  return 0;
}

static int entries(const char *path)
{
  int count= 0;
  DIR *listing= opendir(path);
  while (listing && readdir(listing))
    count++;
  if (listing)
    closedir(listing);
  return count;
}

static uint64_t starts(struct client *client)
{
  struct client_status status;
  client_get_status(client, &status);
  return status.starts;
}

static void end_agent(struct client *client, uint32_t way)
{
  struct failure failure;
  pid_t child= client->io.child;
  switch (way % 4)
  {
  case 0: CHECK(child <= 0 || kill(child, SIGKILL) == 0 || errno == ESRCH); break;
  case 1: CHECK(child <= 0 || kill(child, SIGTERM) == 0 || errno == ESRCH); break;
  case 2: CHECK(!client_rotate(client, ROTATE_CLOSES, NULL, &failure)); break;
  default: CHECK(!client_rotate(client, ROTATE_NO_KEY, NULL, &failure)); break;
  }
}

/*
  Rotates until it succeeds: a request to an agent that was just killed fails with it, and the next agent gets the next
  request.
*/
static void rotate_at_last(struct client *client, uint32_t id)
{
  struct failure failure;
  int64_t until= clock_ms() + LONGEST_MS;
  while (!client_rotate(client, id, NULL, &failure))
    if (clock_ms() > until)
    {
      printf("# %s\n", failure.message);
      CHECK(!"a rotation works in the end");
      return;
    }
}

/* Returns whether a child waits to be reaped. At most the agent that runs is left: all others were waited for. */
static int zombies(void)
{
  siginfo_t info= {.si_pid= 0};
  return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
}

static void nothing_is_left_of_agents_that_ended(void)
{
  struct failure failure;
  int before= entries("/proc/self/fd");
  struct client *client= fake_client_of(server, LONGEST_MS, false);
  CHECK(client_start(client, &failure));
  for (uint32_t i= 0; !test_failed && starts(client) < wanted; i++)
  {
    end_agent(client, i);
    rotate_at_last(client, 1000 + i);
    CHECK(!zombies() && entries("/proc/self/fd") <= before + EXTRA_DESCRIPTORS);
  }
  uint64_t started= starts(client);
  CHECK(fake_logged() > 0 && (uint64_t) fake_logged() <= started);
  fake_destroy(client);
  CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD && entries("/proc/self/fd") == before);
  printf("# %llu agents started, %d lines logged\n", (unsigned long long) started, fake_logged());
}

int main(int count, char **arguments)
{
  char self[PATH_MAX];
  if (count > 1 && strcmp(arguments[1], "agent") == 0)
    return child_main(arguments[0]);
  if (count > 1)
    wanted= strtoull(arguments[1], NULL, 10);
  ssize_t size= readlink("/proc/self/exe", self, sizeof self - 1);
  if (size <= 0 || !mkdtemp(directory))
    abort();
  self[size]= 0;
  snprintf(server, sizeof server, "%s/serve", directory);
  if (symlink(self, server))
    abort();
  TEST(nothing_is_left_of_agents_that_ended);
  unlink(server);
  rmdir(directory);
  return test_failed;
}
