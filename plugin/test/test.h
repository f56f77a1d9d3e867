// SPDX-License-Identifier: GPL-2.0-only
/* The smallest test frame: one line per test on standard output, "ok name" or "not ok name", read by run.sh. */
#ifndef AKM_TEST_H
#define AKM_TEST_H

#include <stdbool.h>
#include <stdio.h>

/* Under valgrind posix_spawn() of a program that is not there succeeds, and the stack of an ended thread must not be read. */
#ifndef UNDER_VALGRIND
#define UNDER_VALGRIND false
#endif

extern _Atomic bool test_failed;

#define CHECK(condition) \
  do \
  { \
    if (!(condition)) \
    { \
      printf("# %s:%d: expected %s\n", __FILE__, __LINE__, #condition); \
      test_failed= true; \
    } \
  } while (0)

#define TEST(function) test_run(#function, function)

void test_run(const char *name, void (*test)(void));

void frame_tests(void);
void keytable_tests(void);
void crypt_tests(void);
void stream_tests(void);
void contexts_tests(void);
void text_tests(void);
void settings_tests(void);
void recent_tests(void);
void reasons_tests(void);
void bucket_tests(void);
void datadir_tests(void);
void layouts_tests(void);
void tablespace_tests(void);
void vectors_tests(void);
void locations_tests(void);
void optionfiles_tests(void);
void spawn_tests(void);
void race_tests(void);
void client_tests(void);
void look_tests(void);
void protocol_tests(void);
void start_tests(void);
void limits_tests(void);
void child_tests(void);
void leaving_tests(void);
void waiting_tests(void);
void secrecy_tests(void);
void replay_tests(void);

/* The path under which the test program serves as an agent, while child_tests() run. */
extern char child_server[64];

/* Runs a copy of the test program that was started as an agent; returns its exit status. */
int child_main(const char *name);

#endif
