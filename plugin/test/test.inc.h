// SPDX-License-Identifier: GPL-2.0-only
/* Code that the test programs share; each main file includes it once. */
#include "test/test.h"

/* Set without a lock by any thread that finds something; only ever to true while a test runs. */
_Atomic bool test_failed;

void test_run(const char *name, void (*test)(void))
{
  test_failed= false;
  test();
  printf("%s %s%s\n", test_failed ? "not ok" : "ok", name, TEST_SUFFIX);
  fflush(stdout);
}
