// SPDX-License-Identifier: GPL-2.0-only
/* What both test programs share; included by each main file once. */
#include "test/test.h"

/* Set without a lock by whatever thread finds something; only ever to true while a test runs. */
_Atomic bool test_failed;

void test_run(const char *name, void (*test)(void))
{
  test_failed= false;
  test();
  printf("%s %s%s\n", test_failed ? "not ok" : "ok", name, TEST_SUFFIX);
  fflush(stdout);
}
